"""The executor `ansible`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bondstone.activities.ansible.section import AnsibleSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import (
    Drifted,
    Executor,
    Outcome,
    Planned,
    SectionReport,
    StepContext,
    ToolReport,
)

if TYPE_CHECKING:
    from bondstone.activities.ansible.session import PlaybookSession
    from bondstone.activities.tooling.heartbeat import Stop
    from bondstone.activities.tooling.scratch import Scratch

# Commands that only want to know which executors there are load this module: what does the work is imported by
# the first call that needs it.
# ruff: noqa: PLC0415

T = TypeVar("T")


class AnsibleExecutor(Executor):
    """Runs playbooks. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "ansible"
    section: ClassVar[type[AnsibleSection]] = AnsibleSection

    def __init__(self) -> None:
        self._swept: set[Path] = set()

    def check(self, section: AnsibleSection, promise: Path) -> SectionReport:
        """Look at the section and its playbooks, at publish; runs nothing."""
        from bondstone.activities.ansible.inspect import report

        return report(section, promise)

    async def ask_tool(
        self, sections: Sequence[AnsibleSection], promise: Path, settings: Settings, *, fetch: bool
    ) -> ToolReport:
        """Warn of collections and roles that `requirements.yml` names and nothing brings to a worker."""
        from bondstone.activities.ansible.requirements import missing_requirements

        del settings, fetch
        return ToolReport(warnings=await asyncio.to_thread(missing_requirements, sections, promise))

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The hosts that a record names."""
        from bondstone.activities.ansible.documents import record_hosts

        return record_hosts(state)

    async def version(self, settings: Settings) -> str:
        """What `ansible-playbook --version` says; of the one installed with Bondstone its package knows it.

        Raises:
            ToolUnavailable: there is none, or it does not answer.
        """
        from importlib import metadata

        from bondstone.activities.ansible.session import find_playbook_command
        from bondstone.activities.tooling.version import first_line

        command = find_playbook_command(settings.ansible)
        if command == str(Path(sys.executable).with_name("ansible-playbook")):
            with suppress(metadata.PackageNotFoundError):
                return f"Ansible {metadata.version('ansible-core')}"  # to ask takes half a second of CPU time
        line = await first_line([command, "--version"])
        return line.replace("ansible-playbook ", "Ansible ").replace("[core ", "").rstrip("]")

    async def plan(self, context: StepContext) -> Planned:
        """Ask the hosts by check mode what the playbook would change."""
        from bondstone.activities.ansible import planning

        return await self._work(context, planning.plan)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Run the playbook of exactly that plan.

        Raises:
            PlanStale: when the record has moved since, or check mode reports what the plan has not shown.
            ToolFailed: when a task failed or a host is away; what was done stays, and the next attempt continues.
            Fenced: when another attempt took the state.
        """
        from bondstone.activities.ansible import applying

        return await self._work(context, lambda session: applying.apply(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to run the section's `destroy`; without one, to forget the hosts."""
        from bondstone.activities.ansible import planning

        return await self._work(context, planning.plan_destroy)

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Ask the hosts by check mode what is no longer as the playbook made it."""
        from bondstone.activities.ansible import planning

        return await self._work(context, planning.detect_drift)

    async def _work(self, context: StepContext, work: Callable[[PlaybookSession], Awaitable[T]]) -> T:
        from bondstone.activities.ansible.session import PlaybookSession
        from bondstone.activities.tooling.heartbeat import Pulse, to_its_end

        scratch = await self._scratch(context.settings.work_dir.absolute())

        async def whole(stop: Stop) -> T:
            with (
                scratch.run(keep=not context.cleanup) as run,
                scratch.lock_file(context.service, context.step) as lock,
            ):
                async with Pulse(context.heartbeat) as pulse:
                    session = PlaybookSession(context, run, lock, pulse, stop)
                    try:
                        return await work(session)
                    finally:
                        await session.close()

        return await to_its_end(whole)

    async def _scratch(self, work: Path) -> Scratch:
        """The scratch directory; when it is first used, what dead attempts left in it is removed."""
        from bondstone.activities.ansible.session import scratch

        folder = await asyncio.to_thread(scratch, work)
        if work not in self._swept:
            self._swept.add(work)
            await asyncio.to_thread(folder.sweep)
        return folder
