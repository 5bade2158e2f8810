"""What a run of a playbook says, event by event, and what became of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError

from bondstone.base.models import Wire

Status = Literal["ok", "changed", "failed", "skipped", "unreachable"]

MAX_RESULTS: Final = 50_000
"""Results of one run that are kept; a run with more fails."""
MAX_FAILURES: Final = 5
"""Failures that an error names."""
_MESSAGE_CHARS: Final = 400


class Diff(Wire):
    """What one part of a task's result would be, or is now."""

    name: str = ""
    before: Any = None
    after: Any = None
    digest: str = ""
    """Of all of `after`, also where that is cut."""


class Result(Wire):
    """What became of one task on one host."""

    host: str
    task: str
    module: str = ""
    status: Status
    ignored: bool = False
    """It failed, and the playbook says that this does not matter."""
    checking: bool = False
    unpredicted: bool = False
    """Check mode cannot say what it will do."""
    background: bool = False
    """`async`: check mode counts it as a change whatever it does."""
    hidden: bool = False
    """Its `no_log` hides what it did."""
    message: str = ""
    diff: tuple[Diff, ...] = ()
    place: str = ""
    """File and line of the task."""

    @property
    def address(self) -> str:
        """The host and the task."""
        return f"{self.host}/{self.task}"

    @property
    def is_open(self) -> bool:
        """Whether what it will do is not known before it is done."""
        return self.unpredicted or (self.checking and self.background and self.status in {"changed", "skipped"})

    @property
    def words(self) -> str:
        """For the log: no value of a diff."""
        if self.checking and self.is_open:
            return f"{self.address}: will run, effect unknown (check mode cannot predict {self.module})"
        message = (
            f": {shortened(self.message)}" if self.message and self.status in {"failed", "unreachable"} else ""
        )
        would = "would be " if self.checking and self.status == "changed" else ""
        return f"{self.address}: {would}{self.status}{' (ignored)' if self.ignored else ''}{message}"


@dataclass(slots=True)
class PlaybookTranscript:
    """Everything that a run has said so far."""

    results: list[Result] = field(default_factory=list)
    hosts: dict[str, dict[str, int]] = field(default_factory=dict)
    """The recap: by host how many tasks were ok, changed, failed, …"""
    statistics: dict[str, Any] = field(default_factory=dict)
    """What `set_stats` has set."""
    version: str = ""
    """Of Ansible."""
    ended: bool = False
    """The playbook came to its end, for good or bad."""
    overflow: bool = False
    complaints: list[str] = field(default_factory=list)
    """Lines that are no events."""

    def read(self, line: str) -> Result | str | None:
        """Take one line of output; the result that it tells of, or words for the log."""
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            if len(self.complaints) < MAX_FAILURES:
                self.complaints.append(line)
            return line
        if kind == "play":
            return f"play {event.get('name', '')}"
        if kind == "start":
            self.version = str(event.get("version", ""))
        if kind == "stats":
            self.hosts, self.statistics, self.ended = event["hosts"], event["statistics"], True
        return self._keep(event) if kind == "result" else None

    def _keep(self, event: dict[str, Any]) -> Result | None:
        try:
            result = Result.model_validate(event)
        except ValidationError:
            return None
        if len(self.results) >= MAX_RESULTS:
            self.overflow = True
        else:
            self.results.append(result)
        return result

    @property
    def tool(self) -> str:
        """Ansible and its version."""
        return f"Ansible {self.version}".strip()

    @property
    def failures(self) -> list[Result]:
        """What failed, and was not to be ignored."""
        return [item for item in self.results if item.status in {"failed", "unreachable"} and not item.ignored]

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that it ran on, in order."""
        return tuple(sorted(self.hosts))


def failure_words(failures: Iterable[Result]) -> str:
    """What failed where, and what was said of it."""
    failed = [item for item in failures if item.status == "failed"]
    away = sorted({item.host for item in failures if item.status == "unreachable"})
    reason = {item.host: shortened(item.message) for item in failures if item.status == "unreachable"}
    words = [f"host {host} cannot be reached: {reason[host]}" for host in away[:MAX_FAILURES]]
    words += [
        f"{item.address} ({item.module}, {item.place}): {shortened(item.message) or 'it does not say why'}"
        for item in failed[: MAX_FAILURES - len(words)]
    ]
    more = len(failed) + len(away) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more > 0 else "")


def shortened(text: str) -> str:
    """The text as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_CHARS else line[:_MESSAGE_CHARS] + " …"
