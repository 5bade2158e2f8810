"""Which Kratix promises of a folder convert whole: `python -m tools.kratix_corpus FOLDER`.

Each promise.yaml below the folder becomes a promise in a temporary folder, and its own pipelines another one; both
are validated as generated, without an edit. A row says whether it does all that it did under Kratix, and each
reason why it does not.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bondstone.activities.kratix.scaffold import draft, needs_kratix, platform_draft
from bondstone.base.errors import BondError, InvalidInput
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import Draft, write_promise
from bondstone.promise.validation.before_publish import validate


def main(arguments: Sequence[str]) -> int:
    """Try each promise and print a row for it; the exit code."""
    folder = Path(arguments[0])
    files = sorted(path for path in folder.rglob("promise.yaml") if path.relative_to(folder).parts[0][0] != ".")
    whole = valid = 0
    for file in files:
        name = file.parent.relative_to(folder).as_posix()
        reasons, validates = _tried(file)
        valid += validates
        whole += not reasons
        print(f"{name:28} {'validates' if validates else 'invalid  '}  {'whole' if not reasons else 'not whole'}")
        for reason in reasons:
            print(f"{'':30}{reason[:150]}")
    print(f"{len(files)} promises: {valid} validate without an edit, {whole} convert whole")
    return 0 if files else 1


def _tried(file: Path) -> tuple[list[str], bool]:
    """Why a promise does not convert whole, and whether what was made of it is valid."""
    try:
        made = [draft(file)]
    except BondError as error:
        return [f"not read: {error.message}"], False
    if made[0].section.get("workflow") != "promise":
        with contextlib.suppress(InvalidInput):  # it has no pipelines of its own
            made.append(platform_draft(file))
    reasons = [reason for each in made for reason in needs_kratix(each.untranslated)]
    problems = [problem for each in made for problem in _problems(each)]
    return list(dict.fromkeys([*reasons, *problems])), not problems


def _problems(made: Draft) -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "promise"
        write_promise(directory, "corpus", made)
        return [f"invalid: {problem.message}" for problem in validate(directory, load_executors()).problems]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
