"""How a benchmark says what it found: a table for people or JSON, with the aim and the noise of each figure."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from bondstone.base.errors import BondError
from bondstone.base.processes import leave
from harness.machine import describe, machine

AIM_MISSED = 3
"""Exit code when a figure misses its aim and `--strict` was given."""


@dataclass(frozen=True)
class Figure:
    """One measured thing, over all runs."""

    name: str
    unit: str
    values: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """What the figure is taken to be."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None when there is no aim."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return self.median <= self.at_most if self.at_most is not None else None

    @property
    def aim(self) -> str:
        """The aim in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""


@dataclass
class Report:
    """What one benchmark found."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, *values: float, **aim: float) -> None:
        """Add a figure; `at_least` or `at_most` is its aim."""
        self.figures.append(Figure(name, unit, values, **aim))

    def as_json(self) -> dict[str, Any]:
        """Everything, with the machine it was measured on."""
        figures = [
            {**asdict(figure), "median": figure.median, "min": min(figure.values), "max": max(figure.values)}
            | {"met": figure.met}
            for figure in self.figures
        ]
        return {"benchmark": self.name, "machine": machine(), "figures": figures, "notes": self.notes}

    def print_table(self) -> None:
        """The same for people."""
        rows = [("", "median", "min", "max", "unit", "aim", "")]
        for figure in self.figures:
            several = len(figure.values) > 1
            low, high = (_number(min(figure.values)), _number(max(figure.values))) if several else ("", "")
            met = {True: "met", False: "MISSED", None: ""}[figure.met]
            rows.append((figure.name, _number(figure.median), low, high, figure.unit, figure.aim, met))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        print(f"{self.name}, {describe(machine())}")
        for row in rows:
            name, *numbers = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            numbers[:3] = (text.strip().rjust(width) for text, width in zip(row[1:4], widths[1:4], strict=True))
            print("  ".join([name, *numbers]).rstrip())
        for note in self.notes:
            print(f"- {note}")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=(description or "").split("\n\n", maxsplit=1)[0])
    made.add_argument("-o", "--output", choices=["table", "json"], default="table")
    made.add_argument("--strict", action="store_true", help=f"exit with {AIM_MISSED} when an aim is missed")
    return made


def run(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Coroutine[Any, Any, Report]],
    within: AbstractContextManager[Any] | None = None,
) -> None:
    """Measure, print, and leave the process.

    Args:
        options: Of the command line.
        measure: Does it.
        within: What has to run meanwhile, and is started without an event loop.
    """
    for name in list(os.environ):
        if name.startswith(("BOND_", "TEMPORAL_")) and name != "BOND_TERRAFORM":
            del os.environ[name]  # what leads to somebody's platform
    os.environ["BOND_CONFIG"] = os.devnull
    try:
        with within or nullcontext():
            report = asyncio.run(measure(options))
    except BondError as error:
        print(f"error: {error}", file=sys.stderr)
        leave(error.exit_code)
    except KeyboardInterrupt:
        leave(130)
    if options.output == "json":
        print(json.dumps(report.as_json(), indent=2))
    else:
        report.print_table()
    missed = any(figure.met is False for figure in report.figures)
    leave(AIM_MISSED if missed and options.strict else 0)


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def _number(value: float) -> str:
    if value and abs(value) < 0.01:
        return f"{value:.4f}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"
