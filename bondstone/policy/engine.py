"""The Rego engine in processes of its own: bounded in time and memory, without our environment, free to crash.

rego-cpp prints on standard output, cannot be interrupted, and shows its environment to `opa.runtime()`. So it runs
in a child that has none of ours, is killed when it takes too long, and is kept for the next evaluation otherwise.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.base.errors import Problem

EVALUATION_SECONDS: Final = 10.0
"""Longest time that one policy set may take over one document; then it counts as failed."""
PROCESSES: Final = 2
"""Most engines at work at once in one process of ours."""
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
MAX_QUESTION_BYTES: Final = 64 * 1024 * 1024
"""Modules and document together."""
MAX_COMPLAINT_CHARS: Final = 300

_CHILD: Final = Path(__file__).with_name("child.py")
_LENGTH_BYTES: Final = 8


class EngineFailed(Exception):
    """The engine did not answer: it took too long, crashed, or ran out of memory. Always means: deny."""


class _Died(EngineFailed):
    """The child ended by itself: by the policy's doing, or because somebody stopped or killed it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine said of one rule: its values, or why there are none."""

    values: tuple[Any, ...] = ()
    """Empty when the rule is undefined for the document."""
    error: str = ""


class Engine:
    """A few child processes that evaluate Rego, started on demand. Safe to call from many threads."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(PROCESSES)
        self._idle: list[_Child] = []
        atexit.register(self.close)

    def evaluate(
        self,
        modules: Sequence[tuple[str, str]],
        queries: Sequence[str],
        document: str,
        *,
        timeout_seconds: float = EVALUATION_SECONDS,
    ) -> list[Answer]:
        """Ask each query about a document.

        Args:
            modules: Name and source of each.
            queries: Rego terms, such as `data["main"]["deny"]`.
            document: The input as JSON.
            timeout_seconds: For all of it.

        Raises:
            EngineFailed: when there is no answer at all, or the modules do not compile.
        """
        answer = self._ask({"modules": modules, "queries": queries, "document": document}, timeout_seconds)
        if answer.get("problems"):
            raise EngineFailed(str(_problems(answer["problems"])[0]))
        return [Answer(tuple(item.get("values", ())), item.get("error", "")) for item in answer["answers"]]

    def check(self, modules: Sequence[tuple[str, str]], queries: Sequence[str]) -> list[Problem]:
        """What the engine refuses when it compiles the modules."""
        try:
            answer = self._ask({"modules": modules, "queries": queries, "check": True}, EVALUATION_SECONDS)
        except EngineFailed as error:
            return [Problem(message=str(error))]
        return _problems(answer["problems"])

    def close(self) -> None:
        """Stop the idle children; the next call starts new ones."""
        while self._idle:
            self._idle.pop().kill()

    def _ask(self, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        question = {**request, "seconds": timeout_seconds}
        with self._room:
            try:
                return self._ask_a_child(question, timeout_seconds)
            except _Died:
                # A stopping machine kills children, too, and that must not look like a denial.
                return self._ask_a_child(question, timeout_seconds)

    def _ask_a_child(self, question: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        try:
            child = self._idle.pop()
        except IndexError:
            child = _Child()
        try:
            answer = child.ask(question, timeout_seconds)
        except BaseException:
            child.kill()
            raise
        self._idle.append(child)
        return answer


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
        )

    def ask(self, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:  # pragma: no cover - both are pipes
            raise EngineFailed("the policy engine has no pipes")
        deadline = time.monotonic() + timeout_seconds + 5  # its start, and getting the document across
        data = json.dumps(request).encode()
        if len(data) > MAX_QUESTION_BYTES:
            raise EngineFailed(f"the plan is larger than {MAX_QUESTION_BYTES} bytes")
        try:
            pipe_in.write(len(data).to_bytes(_LENGTH_BYTES) + data)
            pipe_in.flush()
        except OSError as error:
            raise self._ended() from error
        size = int.from_bytes(self._read(pipe_out.fileno(), _LENGTH_BYTES, deadline))
        if size > MAX_ANSWER_BYTES:
            raise EngineFailed(f"the policies gave more than {MAX_ANSWER_BYTES} bytes of results")
        answer: dict[str, Any] = json.loads(self._read(pipe_out.fileno(), size, deadline))
        return answer

    def kill(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was buffered for a dead child
                    pipe.close()
        self._process.wait()

    def _read(self, descriptor: int, size: int, deadline: float) -> bytes:
        data = b""
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise EngineFailed("the policies took too long")
            block = os.read(descriptor, min(size - len(data), 1 << 20))
            if not block:
                raise self._ended()
            data += block
        return data

    def _ended(self) -> EngineFailed:
        if self._process.wait(timeout=5) == -signal.SIGALRM:  # the child's own alarm, see child.py
            return EngineFailed("the policies took too long")
        complaint = self._process.stderr.read().decode(errors="replace") if self._process.stderr else ""
        if complaint:  # it says something only while it loads its libraries
            return _Died(f"the policy engine does not start: {complaint.splitlines()[-1][:MAX_COMPLAINT_CHARS]}")
        return _Died("the policy engine crashed")


def _problems(found: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**item) for item in found]


ENGINE: Final = Engine()
"""The one of this process."""
