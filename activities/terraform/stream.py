"""Understand what Terraform says under `-json`: one JSON object a line. Pure.

The messages are described in Terraform's "Machine-Readable UI" reference; sensitive values are masked in them by
Terraform itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bondstone.model.step import Progress


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning of Terraform."""

    severity: str
    summary: str
    detail: str = ""
    address: str = ""
    """The resource it is about, if any."""
    file: str = ""
    """Relative to the module."""
    line: int = 0
    column: int = 0


def errors_of(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Those that are errors, each once."""
    return list(dict.fromkeys(item for item in diagnostics if item.severity == "error"))


@dataclass(slots=True)
class Transcript:
    """What a run has said so far."""

    tool: str = ""
    """`terraform 1.15.5` or `opentofu 1.12.6`, once it has said so."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    address: str = ""
    """What is being worked on."""
    _expected: dict[str, int] = field(default_factory=dict)
    _completed: dict[str, int] = field(default_factory=dict)

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics that are errors, each once."""
        return errors_of(self.diagnostics)

    @property
    def progress(self) -> Progress:
        """How many of the planned objects are done, and which is being worked on."""
        done = sum(self._completed.get(address, 0) >= count for address, count in self._expected.items())
        return Progress(done=done, total=len(self._expected), address=self.address)

    def read(self, line: str) -> str:
        """Take one line in.

        Returns:
            The line as a person wants to read it in a log; empty when it says nothing.
        """
        try:
            message = json.loads(line)
        except ValueError:
            return line.strip()
        if not isinstance(message, dict):
            return line.strip()
        kind = message.get("type")
        if kind == "version":
            self.tool = _tool(message)
        elif kind == "diagnostic":
            diagnostic = diagnostic_of(message.get("diagnostic"))
            self.diagnostics.append(diagnostic)
            return _as_text(diagnostic)
        elif kind in {"planned_change", "apply_start", "apply_complete", "apply_errored", "apply_progress"}:
            self._follow(str(kind), message)
        return str(message.get("@message", "")).strip()

    def _follow(self, kind: str, message: dict[str, Any]) -> None:
        about = message.get("change" if kind == "planned_change" else "hook") or {}
        address = str((about.get("resource") or {}).get("addr", ""))
        action = about.get("action")
        if kind == "planned_change":
            if action in _WORKED_ON:
                self._expected[address] = 2 if action == "replace" else 1
            return
        self.address = address
        if kind == "apply_complete":
            self._completed[address] = self._completed.get(address, 0) + 1


_WORKED_ON = frozenset({"create", "update", "replace", "delete"})
"""What Terraform says the end of. What it forgets (`remove`), moves or imports is done without a word."""
_HEAD = re.compile(r"^(?P<severity>Error|Warning): (?P<summary>.+)$", re.MULTILINE)
_PLACE = re.compile(r"^\s*on (?P<file>\S+) line (?P<line>\d+)\b.*$", re.MULTILINE)
_SNIPPET = re.compile(r"^\s*\d+: .*$", re.MULTILINE)


def diagnostics_in(text: str) -> list[Diagnostic]:
    """The diagnostics in what a command without `-json` has written for people, with `-no-color`."""
    heads = list(_HEAD.finditer(text))
    diagnostics = []
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=False):
        body = text[head.end() : end]
        place = _PLACE.search(body)
        detail = _SNIPPET.sub("", _PLACE.sub("", body))
        diagnostics.append(
            Diagnostic(
                severity=head["severity"].lower(),
                summary=head["summary"].strip(),
                detail=" ".join(detail.split()),
                file=place["file"] if place else "",
                line=int(place["line"]) if place else 0,
            )
        )
    return diagnostics


def _tool(message: dict[str, Any]) -> str:
    if "tofu" in message:
        return f"opentofu {message['tofu']}"
    return f"terraform {message.get('terraform', '')}".strip()


def diagnostic_of(data: Any) -> Diagnostic:
    """A diagnostic as Terraform writes it in JSON."""
    document = data if isinstance(data, dict) else {}
    place = document.get("range") or {}
    start = place.get("start") or {}
    return Diagnostic(
        severity=str(document.get("severity", "error")),
        summary=str(document.get("summary", "")),
        detail=str(document.get("detail", "")),
        address=str(document.get("address", "")),
        file=str(place.get("filename", "")),
        line=int(start.get("line", 0)),
        column=int(start.get("column", 0)),
    )


def _as_text(diagnostic: Diagnostic) -> str:
    place = f" ({diagnostic.file}:{diagnostic.line})" if diagnostic.file else ""
    of = f" with {diagnostic.address}" if diagnostic.address else ""
    text = f"{diagnostic.severity.capitalize()}: {diagnostic.summary}{of}{place}"
    return f"{text}\n{diagnostic.detail}" if diagnostic.detail else text
