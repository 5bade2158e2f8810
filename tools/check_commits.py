"""Check the subjects of commits: `area: imperative`, at most 72 columns. `python -m tools.check_commits [RANGE]`.

Without a range: the commits of this branch that `main` does not have. As a hook of Git it takes the file with one
message (`make hooks`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MAX_COLUMNS: Final = 72
_SUBJECT: Final = re.compile(r"[a-z][a-z0-9 ,_./-]*: \S.*")
# Endings of verbs in another mood than the imperative. A heuristic: a few verbs end so themselves.
_TOLD: Final = re.compile(r"(?:\w{2,}ed|\w{2,}ing)")
_IMPERATIVES: Final = frozenset(
    {"bring", "embed", "exceed", "feed", "need", "ping", "proceed", "seed", "speed", "string"}
)
# What Git itself writes.
_BY_GIT: Final = ("Merge ", "Revert ", "fixup! ", "squash! ")


def wrong(subject: str) -> str:
    """What is wrong with the subject of a commit; empty when nothing is."""
    if subject.startswith(_BY_GIT):
        return ""
    if len(subject) > MAX_COLUMNS:
        return f"{len(subject)} columns; at most {MAX_COLUMNS}"
    if not _SUBJECT.fullmatch(subject):
        return "write `area: imperative`, the area in lower case"
    if subject.endswith("."):
        return "no full stop at the end"
    verb = subject.partition(": ")[2].split()[0]
    if _TOLD.fullmatch(verb) and verb not in _IMPERATIVES:
        return f"begin with what to do (`add`, `fix`), not with {verb!r}"
    return ""


def _subjects(revisions: str) -> list[str]:
    listed = subprocess.run(
        ["git", "log", "--no-merges", "--format=%s", revisions], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def main(arguments: Sequence[str]) -> int:
    """Check a range of commits, or a file with a message; the exit status."""
    place = arguments[0] if arguments else "main..HEAD"
    message = Path(place)
    subjects = message.read_text("utf-8").splitlines()[:1] if message.is_file() else _subjects(place)
    problems = [f"{subject}: {problem}" for subject in subjects if (problem := wrong(subject))]
    print("\n".join(problems) if problems else f"commits: {len(subjects)} subjects keep to CONTRIBUTING.md")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
