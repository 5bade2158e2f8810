"""One verb at work: the run directory, the Terraform to use, and what every process of it has in common."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bondstone.activities.terraform import command, modules
from bondstone.activities.terraform.binary import Tool
from bondstone.activities.terraform.checks import state_checks
from bondstone.activities.terraform.diagnostics import lost_providers, to_error
from bondstone.activities.terraform.environment import tool_environment
from bondstone.activities.terraform.module_files import without_nulls
from bondstone.activities.terraform.provider_packages import ProviderPackages
from bondstone.activities.terraform.section import TerraformSection
from bondstone.activities.terraform.slots import Slots
from bondstone.activities.terraform.state import TerraformState
from bondstone.activities.terraform.stream import Transcript, diagnostics_in, errors_of
from bondstone.activities.terraform.workspace import DATA_DIRECTORY, RunDirectory
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.activities.tooling.process import PATIENT, Exit, Graces, Run, capture
from bondstone.activities.tooling.sandbox import Sandbox, is_free, sandbox
from bondstone.activities.tooling.scratch import RUN_MARK
from bondstone.base.errors import BondError, ToolUnavailable
from bondstone.base.redact import Redactor
from bondstone.executors.protocol import Outcome, StepContext

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class TerraformSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    tool: Tool
    run: RunDirectory
    pulse: Pulse
    stop: Stop
    slots: Slots
    packages: ProviderPackages
    redact: Redactor = field(default_factory=Redactor)
    """Masks every secret that is known by now."""
    data: Path = field(default_factory=Path)
    _lock_file: Path | None = None
    """The one that init wrote for all runs of the module."""
    _whole_lock_file: bytes | None = None
    """The text of the run's own, with all checksums."""
    _plans_lock_file: bytes | None = None
    """The one in the plan to be applied."""
    whole_lock_file: str = ""
    """The same, once the one that Terraform sees leaves out checksums; else empty."""
    _left: bool = False

    @property
    def section(self) -> TerraformSection:
        """The rendered section of the step."""
        section: TerraformSection = self.context.section
        return section

    @property
    def has_own_backend(self) -> bool:
        """Whether the state is kept by the module's own backend; never while a promise is only tested."""
        return self.section.backend == "own" and not self.context.trial

    @property
    def work(self) -> Path:
        """The worker's scratch directory."""
        return self.context.settings.work_dir.absolute()

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    def variables(self) -> dict[str, Any]:
        """Values of the module's variables, as they are written for Terraform."""
        return without_nulls(self.section.variables, self.context.bundle, self.section.module)

    async def prepare(self, locked: bytes | None = None, *, in_plan: bytes | None = None) -> None:
        """Have the module ready to be planned and applied, by `init` if nobody on this host has done it yet.

        Args:
            locked: The dependency lock file that the plan to be applied was made with.
            in_plan: The one in that plan, where it leaves out checksums; default: the same.
        """
        self.data = await modules.prepare(
            self.work,
            self.run,
            tool=self.tool,
            revision=self.context.revision_digest,
            module=self.section.module,
            locked=locked,
            has_own_backend=self.has_own_backend,
            init=self._init,
        )
        self._lock_file = modules.lock_file_of(self.data)
        self.run.link_data(self.data)
        self._whole_lock_file = self.run.lock_file()
        self._plans_lock_file = locked if in_plan is None else in_plan

    async def execute(
        self,
        verb: str,
        arguments: list[str],
        *,
        on_tick: Callable[[], None] = lambda: None,
        stop: Callable[[], Graces | None] | None = None,
    ) -> tuple[Exit, Transcript]:
        """Run Terraform in the run directory, its words going to the step's log and its progress to Temporal.

        The caller holds a slot for it.
        """
        await self._leave_out_verified()
        transcript = Transcript()

        def on_line(line: str) -> None:
            self.log(transcript.read(line))
            self.pulse.report(transcript.progress)

        ended = await self._process(
            verb, arguments, self.environment(), on_line=on_line, on_tick=on_tick, stop=stop
        )
        if lost_providers(transcript.errors):
            modules.forget(self.data)
        return ended, transcript

    async def show(self) -> dict[str, Any]:
        """The saved plan as Terraform's JSON document."""
        arguments = self.tool.reading(command.show(self.run.plan_file))
        code, out, err = await self.stop.unless(
            capture(arguments, self.run.module, self.environment(), verb="show", sandbox=self.sandbox())
        )
        if code != 0:
            raise self.error("show", None, Exit(code, interrupted=False, complaint=err))
        document: dict[str, Any] = await asyncio.to_thread(json.loads, out)
        return document

    async def _leave_out_verified(self) -> None:
        """Have Terraform not read again the providers that are verified, just before it runs.

        Not where the module has a backend of its own, whose `init` has seen the whole lock file.
        """
        whole = self._whole_lock_file
        if whole is None or self.has_own_backend:
            return
        try:
            rest = await self.packages.without_verified(whole, self.data, like=self._plans_lock_file)
        except ToolUnavailable:
            modules.forget(self.data)
            raise
        if rest != whole:
            self.run.write_lock_file(rest)
            self.whole_lock_file = whole.decode()

    def error(self, verb: str, transcript: Transcript | None, ended: Exit) -> BondError:
        """The typed error for a run that failed, known secrets masked."""
        errors = (transcript.errors if transcript else []) or errors_of(diagnostics_in(ended.complaint))
        error = to_error(
            errors,
            verb=verb,
            module=self.section.module,
            code=ended.code,
            complaint=ended.complaint,
            where=self.where,
            otherwise=self.context.see_log(),
        )
        return error.masked(self.redact)

    def log(self, text: str) -> None:
        """Write to the step's log."""
        for line in text.splitlines():
            self.context.log(self.redact(line))

    def environment(self, *, plugins: Path | None = None, initial: bool = False) -> dict[str, str]:
        """The environment of the processes.

        Args:
            plugins: The provider cache.
            initial: For `init`, which evaluates nothing, and makes paths relative to where it says it runs.
        """
        variables = tool_environment(
            os.environ,
            self.context.settings.tool_environment,
            data=Path(DATA_DIRECTORY),
            plugins=plugins,
            directory=None if initial else self.run.named,
        )
        return {**variables, RUN_MARK: str(self.run.path), "TMPDIR": str(self.run.temporary)}

    def sandbox(self, *, installing: Path | None = None) -> Sandbox | None:
        """What of the file system the processes may touch.

        Args:
            installing: For `init` alone: the `TF_DATA_DIR` that it fills, together with the provider cache.
        """
        caches = (self.data, self.work / "plugins", *([self._lock_file] if self._lock_file else []))
        return sandbox(
            self.context.settings,
            self.environment(),
            readable=(self.context.bundle, self.run.path, *(caches if installing is None else ())),
            writable=(
                *self.run.writable,
                *((installing, self.work / "plugins") if installing is not None else ()),
                *self.state_directories(),
            ),
            program=self.tool.path,
            fetching=installing is not None,
        )

    def state_directories(self) -> tuple[Path, ...]:
        """Where the promise has a backend of type `local` keep the state."""
        path = self.section.backend_config.get("path") if self.has_own_backend else None
        if not isinstance(path, str) or not path.startswith("/"):
            return ()
        directory = Path(path).parent
        if not is_free(self.context.settings, directory):
            return ()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (directory,)

    def keep_as_orphan(self) -> Path:
        """Keep the run directory for a person: another attempt holds the state now."""
        self._left = True
        return self.run.orphan(self.work / "orphans")

    def keep_for_recovery(self) -> None:
        """Keep the run directory for the next attempt on this host, which carries its state on."""
        self._left = True
        self.run.abandon()

    def leave(self) -> None:
        """End the attempt: remove its directory, unless it was kept."""
        if self._left:
            return
        self._left = True
        if self.context.cleanup:
            self.run.close()
        else:
            self.run.keep()

    def until_stopped(self) -> Graces | None:
        """Let a process run until the attempt is asked to stop."""
        return PATIENT if self.stop.requested else None

    def check_stop(self) -> None:
        """Give up if the attempt was asked to.

        Raises:
            asyncio.CancelledError: if so.
        """
        if self.stop.requested:
            raise asyncio.CancelledError

    async def _init(self, data: Path, plugins: Path, readonly_lock: bool) -> None:  # noqa: FBT001 - a callback
        self.run.link_data(data)
        arguments = command.init(readonly_lock=readonly_lock, has_own_backend=self.has_own_backend)
        environment = self.environment(plugins=plugins, initial=True)
        await self._run_init("preparing the module", arguments, environment, installing=data)

    async def connect(self, arguments: list[str]) -> None:
        """Run the `init` that connects the run to the module's own backend."""
        await self._run_init("connecting to the module's backend", arguments, self.environment(initial=True))

    async def _run_init(
        self, doing: str, arguments: list[str], environment: dict[str, str], *, installing: Path | None = None
    ) -> None:
        self.pulse.note(f"{doing}: terraform init")
        async with self.slots.reading(self.pulse, self.stop):
            ended = await self._process("init", arguments, environment, on_line=self.log, installing=installing)
        self.check_stop()
        if ended.code != 0:
            raise self.error("init", None, ended)
        self.pulse.note("")

    async def _process(
        self,
        verb: str,
        arguments: list[str],
        environment: dict[str, str],
        *,
        on_line: Callable[[str], None],
        on_tick: Callable[[], None] = lambda: None,
        stop: Callable[[], Graces | None] | None = None,
        installing: Path | None = None,
    ) -> Exit:
        self.run.note(pid=0)
        started = asyncio.get_running_loop().time()
        ended = await Run(
            command=self.tool.changing(arguments) if verb == "apply" else self.tool.reading(arguments),
            directory=self.run.module,
            environment=environment,
            output=self.run.path / f"{verb}.out",
            on_line=on_line,
            on_tick=on_tick,
            stop=stop or self.until_stopped,
            on_start=lambda pid: self.run.note(pid=pid),
            verb=verb,
            sandbox=self.sandbox(installing=installing),
        ).to_end()
        _log.debug(
            "terraform.ran",
            verb=verb,
            code=ended.code,
            interrupted=ended.interrupted,
            seconds=round(asyncio.get_running_loop().time() - started, 3),
        )
        return ended


def outcome_of(session: TerraformSession, state: TerraformState | None) -> Outcome:
    """What an apply gives, from the state that it has left."""
    if state is None:
        return Outcome({})
    return Outcome(state.outputs, state_checks(state.content, session.redact))
