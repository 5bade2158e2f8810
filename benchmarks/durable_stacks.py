"""The floor of a fleet of stacks: the durable points of `durable.py`, with Terraform's starts in their activities.

A plan and its JSON, which the policies read, within the activity that keeps a plan; an apply within the one that
reads it again. As many plans and applies at once as a worker of Bondstone's runs. Each stack's directory is
initialised before, as a revision is. No state is carried to a store, nothing is followed line by line, nothing is
confined, and a worker that dies leaves its Terraform behind.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from temporalio import activity

from benchmarks.durable import APPLY, PLAN, Kept
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.activities.terraform.environment import GARBAGE_COLLECTION
from bondstone.base.settings import Settings

_PLAN_FILE = "stack.plan"
ENVIRONMENT = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
"""Of every Terraform that a benchmark starts by itself."""


def words(tool: Tool) -> list[str]:
    """The tool as the start of a command line."""
    return [tool.path] if tool.mode == "exec" else tool.changing([])


def stack_directory(settings: Settings, workflow: str) -> Path:
    """Where a stack is, by the id of its service, or of an operation of it."""
    return settings.data / "floor-stacks" / "-".join(workflow.split("/")[:2])


class Stacks(Kept):
    """What the rules keep of an operation, and its runs of Terraform.

    Args:
        settings: `terraform_slots` is the number of applies at once.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.data / "floor")
        self._settings = settings
        self._words = words(find_tool(settings))
        self._reading = asyncio.Semaphore(min(os.cpu_count() or 1, settings.terraform_slots))
        self._changing = asyncio.Semaphore(settings.terraform_slots)

    @activity.defn(name=PLAN)
    async def plan(self, key: str) -> str:
        """Make a plan, read it, and keep it; its digest."""
        async with self._reading:
            await self._run(key, "plan", "-json", "-input=false", f"-out={_PLAN_FILE}")
            await self._run(key, "show", "-json", _PLAN_FILE)
        return await super().plan(key)

    @activity.defn(name=APPLY)
    async def apply(self, key: str, digest: str) -> None:
        """Read the plan that has this digest, and apply it."""
        await super().apply(key, digest)
        async with self._changing:
            await self._run(key, "apply", "-json", "-input=false", _PLAN_FILE)

    async def _run(self, key: str, verb: str, *arguments: str) -> None:
        directory = stack_directory(self._settings, key.removeprefix("plans/"))
        with (directory / f"{verb}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                verb,
                *arguments,
                cwd=directory,
                env={**os.environ, **ENVIRONMENT, **GARBAGE_COLLECTION},
                stdout=log,
                stderr=log,
            )
            if code := await process.wait():
                raise RuntimeError(f"terraform {verb} ended with {code}: {directory / f'{verb}.log'}")
