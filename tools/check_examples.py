"""Check the examples of the documentation: `python -m tools.check_examples`.

Each `bond` command in a block of a shell must be one that there is, with options that it has, and each table that
stands below one must have titles that `bond` prints. A test runs the README's tour and compares all of it.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SHELLS: Final = ("console", "sh", "bash", "shell", "")
_TITLES: Final = re.compile(r"[A-Z][A-Z0-9 _.-]*(?: {2,}[A-Z][A-Z0-9 _./-]*)+")
_ENDS: Final = re.compile(r"^(?:\||\|\||&&|;|&|[0-9]?>>?.*|<.*|#.*)$")
_LONGEST_TITLE: Final = 40


def wrong_examples(page: Path) -> Iterator[str]:
    """What is wrong with the examples of one page, each with its place."""
    shell, by_bond, prompt = False, False, False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{page.relative_to(ROOT)}:{number}"
        if line.lstrip().startswith("```"):
            shell = not shell and line.strip()[3:].strip() in SHELLS
            by_bond, prompt = False, line.strip() == "```console"
        elif shell and (line.startswith("$ ") or (not prompt and line.startswith("bond "))):
            command = line.removeprefix("$ ").removesuffix("\\")
            by_bond = command.startswith("bond ")
            if by_bond:
                yield from (f"{where}: {problem}" for problem in _wrong_command(command))
        elif shell and by_bond and _TITLES.fullmatch(line.strip()):
            for title in re.split(r" {2,}", line.strip()):
                if title not in _titles() and "/" not in title:  # a column may be named after a time zone
                    yield f"{where}: `bond` prints no table with a column {title!r}"


def _wrong_command(line: str) -> Iterator[str]:
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError:
        return  # continues on the next line
    node, options, verbs = _tree(), dict(_options(_tree())), "bond"
    while words and not _ENDS.match(word := words.pop(0)) and word != "--":
        if word.startswith("-") and len(word) > 1:
            name, has_value, _ = word.partition("=")
            if name not in options:
                yield f"`{verbs}` has no option {name}"
            elif options[name] and not has_value:
                words = words[1:]
        elif node.get("commands"):
            if word not in node["commands"]:
                if word[0].islower():  # else it stands for any of them
                    yield f"`{verbs}` has no command {word}"
                return
            node, verbs = node["commands"][word], f"{verbs} {word}"
            options |= dict(_options(node))


def _options(node: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The options of a command, and whether a value follows."""
    yield from (("--help", False), ("-h", False))
    for option in node.get("options", ()):
        for name in option["names"]:
            yield name, bool(option["value"])


@cache
def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((ROOT / "bondstone/cli/command_tree.json").read_text(encoding="utf-8"))
    return tree


@cache
def _titles() -> frozenset[str]:
    """Every short text in the code of the product, as a title is printed."""
    return frozenset(
        node.value.upper()
        for file in (ROOT / "bondstone").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _LONGEST_TITLE
    )


def main(pages: list[Path] | None = None) -> int:
    """Check pages; by default all of the documentation."""
    pages = pages or [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    problems = [problem for page in pages for problem in wrong_examples(page)]
    print("\n".join(problems) if problems else "examples: every command and every table title is one of `bond`")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
