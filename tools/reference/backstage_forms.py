"""Forms of Backstage: `docs/reference/backstage-forms.md`, from the translation and from the actions."""

from __future__ import annotations

from typing import Final

from bondstone.backstage.actions import ACTIONS
from bondstone.backstage.form_schema import DROPPED, KEPT, TRANSLATED
from bondstone.backstage.templates import VERBS
from tools.docstrings import cell

PAGE: Final = "docs/reference/backstage-forms.md"


def text() -> str:
    """The page."""
    lines = [
        "# Backstage: forms, templates and actions",
        "",
        "How the schema of a promise's inputs becomes a form of a software template, and what templates call. How to set",
        "it up is in [the how-to](../how-to/backstage.md). The platform checks every input again when a request arrives.",
        "",
        "## What is translated",
        "",
        "| keyword | becomes | why |",
        "|---|---|---|",
        f"| {', '.join(KEPT)} | the same | both validators know it |",
        *(f"| {keyword} | {into} | {why or '-'} |" for keyword, (into, why) in TRANSLATED.items()),
        "",
        "## What the form does not check",
        "",
        "Where a promise uses one of these, its component in the catalog says so.",
        "",
        "| keyword | why |",
        "|---|---|",
        *(f"| {keyword} | {why} |" for keyword, why in DROPPED.items()),
        "",
        "A promise whose inputs are no object has no template; its component says why.",
        "",
        "## Templates",
        "",
        "| template | what for |",
        "|---|---|",
        "| the promise's name | request a service |",
        "| `bond-update.PROMISE` | change inputs of a service; what is left empty stays as it is |",
        *(f"| `bond-{verb}` | {description} |" for verb, (_, description) in VERBS.items()),
        "",
        "## Actions",
        "",
        "| action | input | changes | what it does |",
        "|---|---|---|---|",
    ]
    for action in ACTIONS.values():
        taken = ", ".join(f"`{name}`" for name in action.takes.model_fields) or "-"
        changes = "nothing" if action.read_only else "may destroy" if action.destructive else "adds"
        lines.append(f"| `bondstone:{action.name}` | {taken} | {changes} | {cell(action.description)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Each answers `problem` (empty when it was carried out), `words`, `operation`, `service`, `entity`, `console`,",
            "`status`, `ended` and `data`.",
        ]
    )
