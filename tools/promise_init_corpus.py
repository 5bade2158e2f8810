"""How many modules, charts and roles become promises: `python -m tools.promise_init_corpus [--left] KIND:PATH …`.

Each becomes a promise in a temporary folder and is validated as generated, without an edit; `--left` names what
was not translated. Exit code 1 when one of them does not validate.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bondstone.base.errors import BondError
from bondstone.cli.promise.init import SOURCES
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import Draft, write_promise
from bondstone.promise.validation.before_publish import validate


def main(sources: Sequence[str]) -> int:
    """Try each source and print a row for it; the exit code."""
    executors = load_executors()
    valid = 0
    names_left = "--left" in sources
    sources = [source for source in sources if source != "--left"]
    print(f"{'source':60} {'inputs':>6} {'outputs':>7} {'left':>5}  validates")
    for source in sources:
        kind, _, path = source.partition(":")
        try:
            draft: Draft = import_module(SOURCES[kind]).draft(Path(path))
        except (BondError, KeyError) as error:
            print(f"{source[-60:]:60} {'-':>6} {'-':>7} {'-':>5}  not read: {str(error)[:100]}")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "promise"
            write_promise(directory, "corpus", draft)
            problems = validate(directory, executors).problems
        valid += not problems
        verdict = f"no: {problems[0].message[:100]}" if problems else "yes"
        inputs, outputs = len(draft.inputs.get("properties", {})), len(draft.outputs)
        print(f"{source[-60:]:60} {inputs:6} {outputs:7} {len(draft.untranslated):5}  {verdict}")
        for line in draft.untranslated if names_left else ():
            print(f"    {line}")
    print(f"{valid} of {len(sources)} validate without an edit")
    return 0 if valid == len(sources) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
