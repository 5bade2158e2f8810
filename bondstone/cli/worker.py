"""`bond worker`: builds of the control workers, which one gets new work, and what the others still hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from bondstone.client.documents.worker import BuildDocument, HeldDocument

app = typer.Typer(help="Builds of the control workers: list, promote, evict.", no_args_is_help=True)

BuildName = Annotated[
    str, typer.Argument(metavar="BUILD", help="the BOND_BUILD_ID of its workers", show_default=False)
]


@app.command("list", epilog=examples("bond worker list"))
def list_(*, output: Output = OutputFormat.TABLE) -> None:
    """List the builds, oldest first, with the workers that run them and the work that they still hold.

    A build that holds nothing can be stopped for good. One that drains is left by services as soon as their
    operation has ended, and by operations when they end.
    """
    builds = with_platform(lambda bond: bond.workers.list())
    emit(builds, output, lambda: _show(builds))


@app.command(
    epilog=examples(
        "bond worker promote 1.5.0                 all new work goes to it",
        "bond worker promote 1.5.0 --percent 10    one service in ten, to begin with",
        "bond worker promote 1.4.0                 and back again",
    )
)
def promote(
    build: BuildName,
    *,
    percent: Annotated[float | None, typer.Option(metavar="N", help="move only N percent of the services")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a build all new work. What runs ends on the build that began it; keep that until it holds nothing.

    Waits until Temporal has seen the new build's workers poll, for a minute at most.
    """
    builds = with_platform(lambda bond: bond.workers.promote(build, percent=percent))
    emit(builds, output, lambda: _show(builds))


@app.command(epilog=examples("bond worker evict 1.4.0"))
def evict(build: BuildName, *, output: Output = OutputFormat.TABLE) -> None:
    """Move all that a build still holds to the current one, in the middle of what it does.

    For a build whose workers are lost, and for operations that wait for people longer than it shall be kept. The
    current build replays what the other did; the recorded histories of every release are tested for that.
    """
    done = with_platform(lambda bond: bond.workers.evict(build))
    emit(
        done,
        output,
        lambda: say(f"build {done.to} has taken over from {build}: {_words(done.moved) or 'nothing'}"),
    )


def _show(builds: Sequence[BuildDocument]) -> None:
    table(
        ["build", "status", "workers", "services", "operations", "campaigns", "first seen"],
        [
            [
                each.build or "(none)",
                f"{each.status} {each.percent:g} %" if each.status == "ramping" else each.status,
                each.workers,
                each.holds.services,
                each.holds.operations,
                each.holds.campaigns,
                each.first_seen,
            ]
            for each in builds
        ],
        empty="no control worker polls, and none ever had a build",
        wide=("first seen",),
    )
    if builds and not any(each.status == "current" for each in builds):
        note("no build is current, so nothing new is begun: bond worker promote BUILD")
    for each in builds:
        if each.stranded and each.build:
            note(f"build {each.build} has no worker: start one, or `bond worker evict {each.build}`")


def _words(held: HeldDocument) -> str:
    counts = {noun: count for noun, count in held.model_dump().items() if count}
    return ", ".join(f"{count} {noun.removesuffix('s') if count == 1 else noun}" for noun, count in counts.items())
