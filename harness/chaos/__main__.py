"""Kill a platform at work, many times, and say what became of it.

    python -m harness.chaos --kills 200 --plain 48 --results chaos.jsonl            run
    python -m harness.chaos --kills 200 --plain 48 --results chaos.jsonl --resume   go on where it was interrupted
    python -m harness.chaos --results chaos.jsonl --table                           only print what is there

Each run asks for a new service of things that count themselves, made one after the other, and kills something at a
chosen moment. Nobody helps. In the end the service must be ready, its state whole and free for whoever comes next.
The same is done to plain Terraform, where a person applies again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bondstone.base.processes import leave
from harness import processes
from harness.chaos import lanes
from harness.chaos.kills import Kill, Side, Victim, compound_kills, kills, plain_kills, undisturbed
from harness.chaos.outcome import Outcome
from harness.chaos.table import OURS, table
from harness.machine import describe, machine

UNSOUND: Final = 3
"""Exit code when something that must hold did not."""


def main() -> None:
    """The command."""
    options = _options()
    done = _read(options.results)
    if options.table:
        print(table(done))
        leave(0)
    if done and not options.resume:
        print(f"{options.results} has results already: --resume continues them", file=sys.stderr)
        leave(2)
    for name in list(os.environ):
        if name.startswith(("BOND_", "TEMPORAL_")) and name != "BOND_TERRAFORM":
            del os.environ[name]  # what leads to somebody's platform
    known = {outcome.kill.key for outcome in done}
    todo = [
        kill
        for kill in _planned(options)
        if kill.key not in known and (not options.only or kill.victim.value in options.only)
    ]
    with _directory(options.directory) as directory, options.results.open("a") as results:

        def on_outcome(outcome: Outcome) -> None:
            done.append(outcome)
            results.write(json.dumps(outcome.as_json()) + "\n")
            results.flush()
            verdict = (
                "missed"
                if not outcome.hit and outcome.kill.delay_seconds
                else "ready"
                if outcome.ready
                else "NOT READY"
            )
            print(
                f"{outcome.kill}: {verdict} after {outcome.seconds:.1f} s {outcome.error}",
                file=sys.stderr,
                flush=True,
            )

        asyncio.run(lanes.carry_out(todo, directory, on_outcome, things_each=options.things, lanes=options.lanes))
    print(f"seed {options.seed}, {describe(machine())}\n\n{table(done)}")
    leave(UNSOUND if any(outcome.kill.side in OURS and not outcome.sound for outcome in done) else 0)


def _planned(options: argparse.Namespace) -> Iterator[Kill]:
    """Undisturbed runs first, then the kills, those of plain Terraform spread among the others."""
    yield from undisturbed(options.undisturbed)
    if options.compound:
        yield from undisturbed(options.undisturbed, [Side.COMPOUND])
    ours = kills(options.seed, options.kills, things=options.things)
    plain = iter(plain_kills(options.seed, options.plain, things=options.things))
    owed = 0.0
    for kill in ours:
        yield kill
        owed += options.plain / options.kills
        while owed >= 1:
            owed -= 1
            yield from (other for other in [next(plain, None)] if other)
    yield from plain
    yield from compound_kills(options.seed, options.compound, things=options.things)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--kills", type=int, default=200, help="of the platform (default: %(default)s)")
    made.add_argument("--plain", type=int, default=48, help="of plain Terraform (default: %(default)s)")
    made.add_argument(
        "--compound", type=int, default=0, help="while it makes a service with a part (default: %(default)s)"
    )
    made.add_argument(
        "--undisturbed", type=int, default=3, help="runs of each side without (default: %(default)s)"
    )
    made.add_argument(
        "--only",
        action="append",
        metavar="VICTIM",
        choices=[victim.value for victim in Victim],
        help="of all these kills, only those of this victim (may be repeated)",
    )
    made.add_argument("--things", type=int, default=20, help="things each run makes (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="the same seed, the same kills (default: %(default)s)")
    made.add_argument("--lanes", type=int, default=1, help="kills at once, each on a platform of its own")
    made.add_argument("--results", type=Path, required=True, help="JSON lines, written while it runs")
    made.add_argument("--resume", action="store_true", help="go on with the results that are there")
    made.add_argument("--table", action="store_true", help="only print the results that are there")
    made.add_argument(
        "--directory", type=Path, help="keep platforms and states here (default: removed afterwards)"
    )
    return made.parse_args()


def _read(file: Path) -> list[Outcome]:
    """The results that are there; a line that was cut off while it was written does not count."""
    outcomes = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            outcomes.append(Outcome.from_json(json.loads(line)))
        except ValueError:
            continue
    return outcomes


@contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with processes.scratch() as directory:
            yield directory
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()


if __name__ == "__main__":
    main()
