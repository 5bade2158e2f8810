"""regorus, the engine that comes with Bondstone, in processes of its own that wait for the next question."""

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
from functools import cached_property
from importlib.metadata import version
from typing import Any, Final

from bondstone.base.errors import Problem
from bondstone.base.extras import require_package
from bondstone.rego.engine import (
    EVALUATION_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_COMPLAINT_CHARS,
    MAX_QUESTION_BYTES,
    PROCESSES,
    EngineFailed,
    Question,
    RuleAnswer,
)

DISTRIBUTION: Final = "gordon-to-regorus"
"""The Python package of regorus."""

_CHILD: Final = "bondstone.rego.child"
_LENGTH_BYTES: Final = 8
_START_SECONDS: Final = 5


class _Died(EngineFailed):
    """The child ended by itself: by the policy's doing, or because somebody stopped or killed it."""


class Embedded:
    """A few child processes that evaluate Rego, started on demand."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(PROCESSES)
        self._idle: list[_Child] = []
        atexit.register(self.close)

    @cached_property
    def version(self) -> str:
        """`regorus`, with its version."""
        return f"regorus {version(DISTRIBUTION)}"

    def evaluate(
        self, question: Question, document: str, *, timeout_seconds: float = EVALUATION_SECONDS
    ) -> list[RuleAnswer]:
        """See `bondstone.rego.engine.Engine.evaluate`."""
        answer = self._ask(
            {**_message(question), "document": document, "queries": question.queries}, timeout_seconds
        )
        if answer.get("problems"):
            raise EngineFailed(str(_problems(answer["problems"])[0]))
        return [RuleAnswer(tuple(item.get("values", ())), item.get("error", "")) for item in answer["answers"]]

    def check(self, question: Question) -> list[Problem]:
        """See `bondstone.rego.engine.Engine.check`."""
        try:
            return _problems(self._ask(_message(question), EVALUATION_SECONDS)["problems"])
        except EngineFailed as error:
            return [Problem(message=str(error))]

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
        require_package("regorus")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-I", "-m", _CHILD],
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
        deadline = time.monotonic() + timeout_seconds + _START_SECONDS  # and getting the document across
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


def _message(question: Question) -> dict[str, Any]:
    return {"modules": question.modules, "data": question.data}


def _problems(items: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**item) for item in items]
