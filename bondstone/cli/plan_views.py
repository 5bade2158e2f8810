"""Plans as people read them: every change, the decision on it, and whom it waits for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import typer

from bondstone.cli.views import failed_checks, from_to, gate, step_name
from bondstone.terminal.output import cell, is_terminal, say

if TYPE_CHECKING:
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import ChangeDocument, PlanDocument

MAX_VALUE_CHARS: Final = 100
"""Of one attribute of a plan; `-o json` has all of it."""

_ACTIONS: Final = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "replace": ("±", "magenta"),
    "delete": ("-", "red"),
    "forget": ("!", "red"),
    "move": (">", "cyan"),
    "import": ("<", "cyan"),
}
_UNKNOWN: Final = "(known after apply)"


def dry_run(document: OperationDocument) -> None:
    """What an operation would do, step by step as people read plans."""
    say(f"{document.id} dry run of {document.kind}: {from_to(document) or document.revision}")
    plans = {(item.step, item.part): item for item in document.plans}
    for step in document.steps:
        say()
        planned = plans.get((step.id, step.part))
        if planned is not None:
            plan(planned)
        else:
            _styled(f"step {step_name(step)}: {_UNPLANNED.get(step.status, str(step.status))}", bold=True)
    say()
    say("nothing was changed")


def plan(document: PlanDocument) -> None:
    """One plan: by action and address, attributes before and after, what the policies said."""
    made = f" by {document.tool}" if document.tool else ""
    part = f"{document.part}: " if document.part else ""
    _styled(f"{document.operation} step {part}{document.step}: {_summary(document)}", bold=True)
    say(f"plan {document.digest[:12]}{made}")
    order = list(_ACTIONS)
    for change in sorted(document.changes, key=lambda item: (order.index(item.action), item.address)):
        say()
        _change(change)
    failed_checks(document.failed_checks)
    if document.policy is not None:
        say(f"\npolicies: {document.policy.outcome}")
        for finding in document.policy.findings:
            source = f"  ({finding.policy})" if finding.policy else ""
            say(f"  {finding.level}: {finding.message}{source}")
    if document.approval is not None:
        say()
        gate(document.approval)


# Helpers ----------------------------------------------------------------------------------------------------


_UNPLANNED: Final = {
    "deferred": "deferred; what it needs is known only after steps before it are applied",
    "skipped": "skipped; its condition is false",
    "blocked": "not planned; a step before it failed",
}


def _summary(document: PlanDocument) -> str:
    names = {action: "imports" if action == "import" else action for action in _ACTIONS}
    parts = [f"{count} to {action}" for action, name in names.items() if (count := getattr(document.counts, name))]
    return ", ".join(parts) or "nothing to change"


def _change(change: ChangeDocument) -> None:
    mark, colour = _ACTIONS[change.action]
    kind = f"  ({change.type})" if change.type and change.type not in change.address else ""
    _styled(f"  {mark} {change.address}{kind}{_besides(change)}", fg=colour)
    before, after = change.before or {}, change.after or {}
    names = sorted({*before, *after, *change.unknown})
    width = max(map(len, names), default=0)
    for name in names:
        unknown = name in change.unknown
        if (
            change.action in {"update", "replace"}
            and not unknown
            and (name in before) == (name in after)
            and before.get(name) == after.get(name)
        ):
            continue
        left, right = differing(before.get(name), after.get(name)) if change.action == "update" else (None, None)
        old = _short(before[name] if left is None else left) if name in before else None
        new = _UNKNOWN if unknown else _short(after[name] if right is None else right) if name in after else None
        match change.action:
            case "create":
                shown = new
            case "delete" | "forget":
                shown = old
            case _:
                shown = f"{old or '(none)'} -> {new or '(none)'}"
        if shown is not None and shown != "null":
            say(f"      {name:<{width}} = {shown}")


def _besides(change: ChangeDocument) -> str:
    """What happens to an object beside the change of its attributes."""
    words = [
        f"moved from {change.moved_from}" if change.moved_from else "",
        f"imported from {change.import_id}" if change.import_id else "",
        "stays, and is managed no more" if change.action == "forget" else "",
    ]
    return "".join(f"  ({word})" for word in words if word)


def differing(old: Any, new: Any) -> tuple[Any, Any]:
    """The parts in which two values differ: what is the same in both is left out before anything is cut."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**old, **new} if old.get(name, _UNKNOWN) != new.get(name, _UNKNOWN)]
        parts = {name: differing(old.get(name), new.get(name)) for name in names}
        left = {name: parts[name][0] for name in names if name in old}
        return left, {name: parts[name][1] for name in names if name in new}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [differing(one, other) for one, other in zip(old, new, strict=True) if one != other]
        return [left for left, _ in pairs], [right for _, right in pairs]
    if isinstance(old, str) and isinstance(new, str) and len(old) + len(new) > MAX_VALUE_CHARS:
        shorter = min(len(old), len(new))
        start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
        from_ = max(0, start - 20)
        mark = "…" if from_ else ""
        return mark + old[from_:], mark + new[from_:]
    return old, new


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def _styled(text: str, *, fg: str | None = None, bold: bool | None = None) -> None:
    clean = " " * (len(text) - len(text.lstrip())) + cell(text.lstrip())
    typer.echo(typer.style(clean, fg=fg, bold=bold) if is_terminal(sys.stdout) else clean)
