"""A whole life of each chart beside plain Helm: `python -m tools.chart_corpus [DIR|CHART …] [--kubeconfig FILE]`.

Each chart (a folder or an archive) is installed, upgraded to a next version of itself and taken back, first by
plain `helm`, then by the executor, in the same namespace under the same name. The table says whether the objects
in the cluster are the same, and whether the second plan of an unchanged release and its drift are empty. A chart
that plain Helm cannot install here is listed and not counted.

The charts of `tests/charts` have the shapes of public charts that were hard to plan; `helm pull` and clones of
chart repositories give others: a folder is searched for charts. Without a kubeconfig a control plane is started
(`make tools`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from harness.pinned import find
from tools.chart_life import Verdict, look

CHARTS: Final = Path(__file__).parents[1] / "tests" / "charts"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at every chart; the exit status is 1 when one of them is not as with plain Helm, or not still."""
    parser = argparse.ArgumentParser(description="Compare a whole life of every chart with plain Helm.")
    parser.add_argument("places", nargs="*", type=Path, default=[CHARTS], metavar="DIR|CHART")
    parser.add_argument("--kubeconfig", type=Path, help="default: a control plane of its own")
    parser.add_argument("--helm", default="", help="default: the one that `make tools` has built")
    parser.add_argument("--values", type=Path, help="a file of values for all charts")
    options = parser.parse_args(arguments)
    values = yaml.safe_load(options.values.read_text(encoding="utf-8")) if options.values else {}
    verdicts: list[Verdict] = []
    print(_row("chart", "objects", "as plain Helm", "2nd plan", "drift", "update", "back"))
    with _cluster(options.kubeconfig) as kubeconfig:
        helm = options.helm or str(find("helm"))
        for chart in charts(*options.places):
            verdict = asyncio.run(look(chart, kubeconfig, helm, values))
            verdicts.append(verdict)
            _print(verdict)
    counted = [verdict for verdict in verdicts if not verdict.skipped]
    good = [verdict for verdict in counted if not verdict.differences]
    print(f"{len(good)} of {len(counted)} charts live as with plain Helm, and are still when nothing changed")
    if len(counted) < len(verdicts):
        print(f"{len(verdicts) - len(counted)} more cannot be installed here by plain Helm either")
    return 1 if not counted or len(good) < len(counted) else 0


def _print(verdict: Verdict) -> None:
    if verdict.skipped:
        print(f"{verdict.chart:<36}  {'-':>7}  plain Helm: {verdict.skipped}", flush=True)
        return
    cells = [verdict.word(kind) for kind in ("same", "plan", "drift", "update", "back")]
    note = f"; {verdict.note}" if verdict.note else ""
    print(f"{_row(verdict.chart, str(verdict.objects), *cells)} {verdict.seconds:.0f} s{note}", flush=True)
    for line in verdict.differences:
        print(f"    {line[:400]}", flush=True)


def _row(*cells: str) -> str:
    widths = (-36, 7, -13, -9, -8, -9, -9)
    return "  ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, widths, strict=True)
    )


def charts(*places: Path) -> list[Path]:
    """The charts in folders, sorted; a chart inside a chart is part of it.

    Args:
        places: Charts, or folders with charts in them at any depth.
    """
    return [chart for place in places for chart in _charts(place)]


def _charts(place: Path) -> Iterator[Path]:
    if place.suffix == ".tgz" or (place / "Chart.yaml").is_file():
        yield place
    elif place.is_dir():
        for path in sorted(place.iterdir()):
            if not path.name.startswith("."):
                yield from _charts(path)


@contextmanager
def _cluster(kubeconfig: Path | None) -> Iterator[Path]:
    if kubeconfig is not None:
        yield kubeconfig
        return
    from harness.servers.kubernetes import running  # noqa: PLC0415 - needs the built tools

    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as plane:
        yield plane.kubeconfig


if __name__ == "__main__":
    sys.exit(main())
