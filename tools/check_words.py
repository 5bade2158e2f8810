"""Check that names and sentences keep to docs/style.md: `python -m tools.check_words`.

Two lists are refused: names that fit any value and so say nothing, and phrases that a reader must read twice.
Names are those that Python code binds: variables, parameters, functions, classes and attributes. The phrases are
searched for in the documentation and in the code of the product: docstrings, help, messages and log lines.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
NAMES: Final = frozenset(
    {
        *("found", "there", "asked", "seen", "said", "given", "something", "leaving", "keeping", "moving", "room"),
        *("_asked", "_said", "_something", "_woken", "_patience", "_never_was", "contact", "campaign_moves"),
        *("own", "Answer", "Books", "Contact", "Errands", "How"),
    }
)
# Fields whose names are kept in histories, in stored objects or in files that people write.
FIELDS: Final = frozenset(
    {
        ("bondstone/model/campaign/events.py", "found"),
        ("bondstone/model/campaign/run.py", "found"),
        ("bondstone/model/campaign/run.py", "said"),
        ("bondstone/promise/cases.py", "given"),
        ("activities/helm/artefact.py", "leaving"),
    }
)
PHRASES: Final = (
    r"(?:somebody's|somebody else's|people's|nobody's|whose|their) word\b",
    r"what is wanted",
    r"\bgoes on\b",
    r"\b(?:is|are) had\b",
    r"what cannot be (?:is|are)\b",
    r"whatever it is",
    r"\ba look for drift",
    r"\bhas a word\b",
    r"of its own accord",
    r"comes? to an end of",
)
_PHRASE: Final = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES), re.IGNORECASE)
# The page with the rules quotes what it forbids; people's tests quote what they look for.
_QUOTES: Final = frozenset({"docs/style.md", "tools/check_words.py"})
# A word changed in a promise makes another revision of it: its files keep theirs until they change anyway.
_OWN_RHYTHM: Final = ("promises/",)


def bad_names(source: str, file: str = "") -> Iterator[tuple[int, str]]:
    """The lines of a Python file that bind a name of `NAMES`, each with the name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.arg(arg=name) | ast.MatchAs(name=str(name)) | ast.ExceptHandler(name=str(name)):
                pass
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case _:
                continue
        if name in NAMES and (file, name) not in FIELDS:
            yield getattr(node, "lineno", 0), name


def bad_phrases(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text that have a phrase of `PHRASES`, also one that is broken over two lines."""
    for match in _PHRASE.finditer(re.sub(r"\s", " ", text)):
        yield text.count("\n", 0, match.start()) + 1, match.group().lower()


def problems(file: str, text: str) -> Iterator[str]:
    """What is wrong with one file, each with its place.

    Args:
        file: Its path from the root of the repository, with `/`.
        text: What it holds.
    """
    if file.endswith(".py"):
        for line, name in sorted(set(bad_names(text, file))):
            yield f"{file}:{line}: `{name}` says nothing; use a noun for the value, a verb for the act"
    if file in _QUOTES or file.startswith("tests/"):
        return
    for line, phrase in bad_phrases(text):
        yield f"{file}:{line}: {phrase!r}; docs/style.md has other words"


def main() -> int:
    """Check each page and each Python file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.splitlines() if not name.startswith(_OWN_RHYTHM)]
    files = [name for name in names if (ROOT / name).is_file()]
    wrong = [problem for name in files for problem in problems(name, (ROOT / name).read_text(encoding="utf-8"))]
    print("\n".join(wrong) if wrong else f"words: {len(files)} files keep to docs/style.md")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
