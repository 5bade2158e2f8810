"""One verb at work: its private files, and what every `ansible-playbook` that is run has in common."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from bondstone.activities.ansible.configuration import CALLBACKS, CONFIGURATION, Mode, RunPlaces, environment
from bondstone.activities.ansible.documents import AnsiblePlan, PlaybookRecord, read_record
from bondstone.activities.ansible.events import PlaybookTranscript, Result, failure_words, shortened
from bondstone.activities.ansible.section import AnsibleSection
from bondstone.activities.tooling.environment import allowed_environment
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.activities.tooling.process import BRIEF, Exit, Graces, Run, capture, shimmed, tied
from bondstone.activities.tooling.sandbox import Sandbox, sandbox
from bondstone.activities.tooling.scratch import Scratch, kill_marked, locked, write_private
from bondstone.base.errors import BondError, ToolFailed, ToolUnavailable
from bondstone.documents.json_in_yaml import json_in_yaml
from bondstone.executors.protocol import StepContext
from bondstone.model.step import Progress

DIRECTORY: Final = "ansible"

_SOCKETS: Final = "sockets"
"""A link in an attempt's directory: a socket's path may have 107 characters (unix(7)), work directories more."""
_LET_THROUGH: Final = ("SSH_AUTH_SOCK",)


def scratch(work: Path) -> Scratch:
    """Where Ansible works; what attempts that died have left running is stopped when it is swept."""
    return Scratch(work, DIRECTORY, bury=_bury)


def _bury(run: Path) -> None:
    """Kill what an attempt has left, and remove the directory of ssh's sockets, which is elsewhere."""
    link = run / _SOCKETS
    if not link.is_symlink():
        kill_marked(run)
        return
    sockets = link.readlink()
    kill_marked(run, also=partial(is_connection, sockets=sockets))
    shutil.rmtree(sockets, ignore_errors=True)
    link.unlink()


def is_connection(process: psutil.Process, sockets: Path) -> bool:
    """Whether it is an ssh that keeps a connection open for the next run.

    It writes its title, which names its socket, over its environment, and so has no mark.

    Args:
        process: Any process.
        sockets: Where this attempt has its sockets.
    """
    title = " ".join(process.cmdline()).strip()
    return title.startswith(f"ssh: {sockets}/") and title.endswith("[mux]")


def find_playbook_command(configured: str) -> str:
    """Path of the `ansible-playbook` to run.

    Args:
        configured: `BOND_ANSIBLE`; empty for the one installed with Bondstone, then the one on PATH.

    Raises:
        ToolUnavailable: when there is none.
    """
    beside = Path(sys.executable).with_name("ansible-playbook")
    name = configured or (str(beside) if beside.is_file() else "ansible-playbook")
    path = shutil.which(name)
    if path is None:
        raise ToolUnavailable(
            f"BOND_ANSIBLE names {configured!r}, which is not an executable file"
            if configured
            else "there is no ansible-playbook on this worker",
            hint="pip install 'bondstone[ansible]' on the workers of the pool, or set BOND_ANSIBLE to its path",
        )
    return str(Path(path).absolute())


@dataclass(slots=True)
class PlaybookSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    run: Path
    lock: int
    pulse: Pulse
    stop: Stop
    _runs: int = field(default=0, init=False)

    @property
    def section(self) -> AnsibleSection:
        """The rendered section of the step."""
        section: AnsibleSection = self.context.section
        return section

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    async def record(self) -> tuple[int, PlaybookRecord]:
        """Position and content of the newest state."""
        snapshot = await self.context.state.read()
        return snapshot.position, read_record(snapshot.payload)

    def wanted(self, *, destroy: bool = False) -> AnsiblePlan:
        """What the section asks for, as a plan that expects nothing yet."""
        section = self.section
        return AnsiblePlan(
            destroy=destroy,
            playbook=section.destroy if destroy else section.playbook,
            inventory=section.inventory,
            variables=section.variables,
            known_hosts=section.known_hosts,
            private_key=section.private_key,
            vault_password=section.vault_password,
            forks=section.forks,
            checked=section.check == "required" or self.context.trial,
        )

    async def play(
        self, plan: AnsiblePlan, mode: Mode, *, total: int = 0, lost: asyncio.Event | None = None
    ) -> PlaybookTranscript:
        """Run the playbook of a plan to its end.

        Args:
            plan: What to run.
            mode: `check` changes nothing.
            total: Results that are expected, for progress.
            lost: Set when the claim on the step's state is lost: the run is stopped then.

        Raises:
            ToolFailed: when a task failed, a host was away or Ansible itself failed.
            asyncio.CancelledError: when the attempt was asked to stop; everything that ran is stopped by then.
        """
        transcript = PlaybookTranscript()
        note = {"check": "checking", "apply": "applying"}[mode]

        def on_line(line: str) -> None:
            event = transcript.read(line)
            if isinstance(event, Result):
                self.log(event.words)
                done = len(transcript.results)
                self.pulse.report(Progress(done=done, total=max(total, done), address=event.address, note=note))
            elif event:
                self.log(event)

        ended = await self._process(plan, mode, on_line, lost)
        if self.stop.requested:
            raise asyncio.CancelledError
        self._judge(transcript, ended, mode)
        return transcript

    async def hosts_of(self, plan: AnsiblePlan) -> tuple[str, ...]:
        """The hosts that a playbook would run on, without asking any of them."""
        directory = self._lay_out(plan)
        variables = self._environment(plan, "check", directory)
        code, out, err = await self.stop.unless(
            capture(
                tied([*self._command(plan, directory), "--list-hosts"]),
                directory,
                variables,
                tool="Ansible",
                verb="list-hosts",
                sandbox=self._sandbox(directory, variables),
            )
        )
        if code != 0:
            raise self._failed(Exit(code, interrupted=False, complaint=err), "check", PlaybookTranscript())
        return tuple(sorted(set(_listed(out.decode("utf-8", "replace")))))

    async def close(self) -> None:
        """End what the runs have shared: no connection outlives the attempt."""
        if self._runs:
            await asyncio.to_thread(_bury, self.run)

    def log(self, text: str) -> None:
        """Write to the step's log."""
        for line in text.splitlines():
            self.context.log(line)

    # Processes -----------------------------------------------------------------------------------------------

    async def _process(
        self, plan: AnsiblePlan, mode: Mode, on_line: Callable[[str], None], lost: asyncio.Event | None
    ) -> Exit:
        def stop() -> Graces | None:
            return BRIEF if self.stop.requested or (lost is not None and lost.is_set()) else None

        await locked(self.lock, self.pulse, self.stop, tool="ansible-playbook")
        directory = self._lay_out(plan)
        command = [*self._command(plan, directory), *(("--check", "--diff") if mode == "check" else ())]
        variables = self._environment(plan, mode, directory)
        try:
            return await Run(
                command=shimmed("exec", tied(command), killed_after_seconds=BRIEF.first_seconds),
                directory=directory,
                environment=variables,
                output=directory / "events.out",
                on_line=on_line,
                stop=stop,
                tool="Ansible",
                verb=mode,
                passed=(self.lock,),
                sandbox=self._sandbox(directory, variables),
            ).to_end()
        finally:
            # its workers and their commands have sessions of their own; the next run needs ssh's connections
            await asyncio.to_thread(kill_marked, self.run, spared=partial(is_connection, sockets=self._sockets()))
            shutil.rmtree(directory, ignore_errors=True)

    def _lay_out(self, plan: AnsiblePlan) -> Path:
        """Everything that a run reads, in private files: nothing of it is on a command line."""
        self._runs += 1
        directory = self.run / str(self._runs)
        directory.mkdir(mode=0o700)
        write_private(directory / "ansible.cfg", CONFIGURATION)
        write_private(directory / "variables.yml", _as_yaml(self._variables(plan)).encode())
        if not isinstance(plan.inventory, str):
            write_private(directory / "inventory.yml", _as_yaml(plan.inventory).encode())
        for name, text in (
            ("known_hosts", plan.known_hosts),
            ("private_key", plan.private_key),
            ("vault_password", plan.vault_password),
        ):
            if text:
                write_private(directory / name, text.rstrip("\n").encode() + b"\n")
        return directory

    def _variables(self, plan: AnsiblePlan) -> Mapping[str, Any]:
        if not self.context.trial:
            return plan.variables
        # a test of a promise has no hosts: check mode looks at this machine, and changes nothing
        here = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
        }
        return {**plan.variables, **here}

    def _command(self, plan: AnsiblePlan, directory: Path) -> list[str]:
        inventory = (
            self.context.bundle / plan.inventory
            if isinstance(plan.inventory, str)
            else directory / "inventory.yml"
        )
        return [
            find_playbook_command(self.context.settings.ansible),
            str(self.context.bundle / plan.playbook),
            "--inventory",
            str(inventory),
            "--extra-vars",
            f"@{directory / 'variables.yml'}",
            "--forks",
            str(plan.forks),
        ]

    def _environment(self, plan: AnsiblePlan, mode: Mode, directory: Path) -> dict[str, str]:
        allowed = allowed_environment(os.environ, [*_LET_THROUGH, *self.context.settings.tool_environment])
        return {**allowed, **environment(plan, mode, self._places(directory))}

    def _places(self, directory: Path) -> RunPlaces:
        places = RunPlaces(run=self.run, directory=directory, sockets=self._sockets(), bundle=self.context.bundle)
        places.modules.mkdir(mode=0o700, exist_ok=True)
        return places

    def _sockets(self) -> Path:
        """Where ssh keeps its connections open between tasks."""
        link = self.run / _SOCKETS
        if not link.is_symlink():
            link.symlink_to(tempfile.mkdtemp(prefix="bond-ssh-"))
        return link.readlink()

    def _sandbox(self, directory: Path, variables: Mapping[str, str]) -> Sandbox | None:
        places = self._places(directory)
        return sandbox(
            self.context.settings,
            variables,
            readable=(places.bundle, CALLBACKS),
            writable=(directory, places.modules, places.sockets),
            program=find_playbook_command(self.context.settings.ansible),
        )

    # Verdicts ------------------------------------------------------------------------------------------------

    def _judge(self, transcript: PlaybookTranscript, ended: Exit, mode: Mode) -> None:
        for host, counts in transcript.hosts.items():
            self.log(f"{host}: " + " ".join(f"{name}={count}" for name, count in counts.items()))
        if ended.code != 0 or transcript.failures:
            raise self._failed(ended, mode, transcript)
        if not transcript.ended:
            raise ToolFailed(
                "ansible-playbook ended without a report of its tasks",
                where=self.where,
                hint="is the callback plugin of Bondstone overridden by `stdout_callback` in an ansible.cfg?",
            )
        if not transcript.hosts:
            raise ToolFailed(
                "no host of the inventory matches the playbook's `hosts`, so nothing was run",
                where=self.where,
                hint="compare `hosts` of the playbook with the names and groups of the inventory",
            )
        if transcript.overflow:
            raise ToolFailed(
                "the run reported more results than the platform keeps", where=self.where, hint="split the step"
            )

    def _failed(self, ended: Exit, mode: Mode, transcript: PlaybookTranscript) -> BondError:
        failures = transcript.failures
        words = failure_words(failures) or _last_words(ended, transcript)
        hint = "correct the playbook or its inputs; the step's log has everything that Ansible printed"
        if any(item.status == "unreachable" for item in failures):
            hint = "see that the host is up, its key is in known_hosts, and the private key may log in there"
        elif mode == "check" and any("must have a tty" in item.message for item in failures):
            hint = "set `ansible_pipelining: false` for this host: its sudo demands a terminal (`requiretty`)"
        elif mode == "check":
            hint = (
                "check mode cannot run a task that needs the result of an earlier one: give it"
                " `when: not ansible_check_mode`, or say `check: skip` in the step"
            )
        doing = "check mode" if mode == "check" else "the playbook"
        return ToolFailed(f"{doing} failed: {words}", where=self.where, hint=hint).masked(self.context.redact)


def _last_words(ended: Exit, transcript: PlaybookTranscript) -> str:
    complaint = ended.complaint or " ".join(transcript.complaints)
    lines = [line for line in complaint.splitlines() if line.strip() and "WARNING" not in line]
    return shortened(" ".join(lines)) or f"exit status {ended.code}"


def _listed(text: str) -> Iterator[str]:
    """The names in what `--list-hosts` prints."""
    listing = False
    for line in text.splitlines():
        if line.strip().startswith("hosts ("):
            listing = True
        elif not line.strip() or not line.startswith("      "):
            listing = False
        elif listing:
            yield line.strip()


def _as_yaml(value: Any) -> str:
    """JSON, which is YAML, with each text marked so that Ansible evaluates nothing in it."""
    match value:
        case str():
            return f"!unsafe {json_in_yaml(value)}"
        case dict():
            inside = ", ".join(f"{json_in_yaml(str(key))}: {_as_yaml(item)}" for key, item in value.items())
            return f"{{{inside}}}"
        case list() | tuple():
            return f"[{', '.join(map(_as_yaml, value))}]"
    return json_in_yaml(value)
