"""What the tools themselves say of a promise that has passed every check of ours: where our reading ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bondstone.base.errors import Problem
from bondstone.base.settings import Settings
from bondstone.model.promise import Promise
from bondstone.promise.sections import SectionChecker, ToolReport


async def ask_tools(
    directory: Path,
    promise: Promise,
    executors: Mapping[str, SectionChecker],
    settings: Settings,
    *,
    fetch: bool,
) -> ToolReport:
    """Have each executor ask its tool about the sections of its steps.

    Args:
        directory: The promise's folder.
        promise: Its manifest, checked.
        executors: Installed executors by kind.
        settings: Which tools to use.
        fetch: Whether what the promise names may be fetched from elsewhere and run.
    """
    sections: dict[str, list[Any]] = {}
    for step in promise.spec.steps:
        if executor := executors.get(step.executor):
            sections.setdefault(step.executor, []).append(executor.section.model_validate(step.section))
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for kind, those in sections.items():
        report = await executors[kind].ask_tool(those, directory, settings, fetch=fetch)
        problems += report.problems
        warnings += report.warnings
    return ToolReport(tuple(problems), tuple(warnings))
