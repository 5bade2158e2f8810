"""OPA itself: one `opa eval` an evaluation, without environment, bounded in memory, killed when it takes too long.

Built-in functions that fail are errors (`--strict-builtin-errors`), and those that reach outside are left out of
the capabilities that OPA is given.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from bondstone.base.errors import Problem
from bondstone.rego.engine import (
    EVALUATION_SECONDS,
    FORBIDDEN,
    MAX_ANSWER_BYTES,
    MAX_COMPLAINT_CHARS,
    MAX_QUESTION_BYTES,
    MEMORY_BYTES,
    PROCESSES,
    EngineFailed,
    Question,
    RuleAnswer,
)

OLDEST: Final = (1, 0)
"""OPA before 1.0 has another syntax by default."""
ASKED: Final = "bondstone_asked"
"""The package that holds the questions."""
VERSION_SECONDS: Final = 20

_VERSION: Final = re.compile(r"^Version: (\d+)\.(\d+)\S*", re.MULTILINE)
# The bound of memory is set by a shell, before OPA is there to allocate anything.
_BOUNDED: Final = f'ulimit -v {MEMORY_BYTES // 1024} 2>/dev/null; exec "$@"'
_CAPABILITIES: Final = "--capabilities=capabilities"
_GO: Final = {"GOMEMLIMIT": str(MEMORY_BYTES // 2), "GOMAXPROCS": "2"}


class NoOpa(Exception):
    """There is no usable OPA; the message says why."""


class Opa:
    """The `opa` program.

    Args:
        program: Its path.

    Raises:
        NoOpa: it does not run, or is too old.
    """

    def __init__(self, program: str) -> None:
        self._program = program = str(Path(shutil.which(program) or program).absolute())
        self._room = threading.BoundedSemaphore(PROCESSES)
        try:
            ran = subprocess.run(  # noqa: S603 - the program that the operator chose
                [program, "version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True, env={}
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NoOpa(f"{program} does not run: {error}") from error
        version_line = _VERSION.search(ran.stdout)
        if version_line is None:
            raise NoOpa(f"{program} is not OPA: `{program} version` names no version")
        self._version = version_line[0].removeprefix("Version: ")
        if (int(version_line[1]), int(version_line[2])) < OLDEST:
            raise NoOpa(f"{program} is OPA {self._version}, and Rego v1 needs 1.0 or newer")

    @property
    def version(self) -> str:
        """`opa`, with its version."""
        return f"opa {self._version}"

    def evaluate(
        self, question: Question, document: str, *, timeout_seconds: float = EVALUATION_SECONDS
    ) -> list[RuleAnswer]:
        """See `bondstone.rego.engine.Engine.evaluate`."""
        size = len(document) + sum(len(source) for _, source in question.modules) + sum(map(len, question.data))
        if size > MAX_QUESTION_BYTES:
            raise EngineFailed(f"the plan is larger than {MAX_QUESTION_BYTES} bytes")
        deadline = time.monotonic() + timeout_seconds
        with self._room, _Folder(question, self._capabilities) as folder:
            return self._answers(folder, list(question.queries), document, deadline)

    def check(self, question: Question) -> list[Problem]:
        """See `bondstone.rego.engine.Engine.check`."""
        try:
            with self._room, _Folder(question, self._capabilities) as folder:
                told = self._run(
                    ["check", "--format=json", _CAPABILITIES, "."], "", EVALUATION_SECONDS, folder.path
                )
                problems = [folder.problem(error) for error in told.get("errors") or ()]
                return [self._before_v1(problem, folder) for problem in problems]
        except EngineFailed as error:
            return [Problem(message=str(error))]

    def close(self) -> None:
        """Nothing waits: each evaluation is a process of its own."""

    def _answers(self, folder: _Folder, queries: list[str], document: str, deadline: float) -> list[RuleAnswer]:
        """All queries at once; when an error ends them all, each half again."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise EngineFailed("the policies took too long")
        folder.ask(queries)
        arguments = [
            "eval",
            "--format=json",
            "--strict-builtin-errors",
            "--stdin-input",
            "--data=.",
            _CAPABILITIES,
        ]
        told = self._run([*arguments, f"data.{ASKED}"], document, left, folder.path)
        errors = told.get("errors") or ()
        if not errors:
            values = told["result"][0]["expressions"][0]["value"]
            return [
                RuleAnswer((values[name],)) if (name := f"q{i}") in values else RuleAnswer()
                for i in range(len(queries))
            ]
        problem = folder.problem(errors[0])
        if not str(errors[0].get("code", "")).startswith("eval_"):
            raise EngineFailed(str(problem))
        if len(queries) == 1:
            place = f"{problem.file}:{problem.line}: " if problem.file else ""
            return [RuleAnswer(error=f"{place}{problem.message}")]
        middle = len(queries) // 2
        return [
            *self._answers(folder, queries[:middle], document, deadline),
            *self._answers(folder, queries[middle:], document, deadline),
        ]

    def _before_v1(self, problem: Problem, folder: _Folder) -> Problem:
        """Say how to convert a file that OPA before 1.0 would take."""
        path = folder.files.get(problem.file)
        if path is None or not problem.message.startswith("rego_parse_error"):
            return problem
        told = self._run(["check", "--format=json", "--v0-compatible", path], "", EVALUATION_SECONDS, folder.path)
        if told.get("errors"):
            return problem
        message = f"syntax from before Rego v1: {problem.message}"
        hint = f"`opa fmt --write --v0-v1 {problem.file}` converts the file"
        return problem.changed(message=message, hint=hint)

    @cached_property
    def _capabilities(self) -> str:
        """What this OPA can do, without what reaches outside."""
        told = self._run(["capabilities", "--current"], "", VERSION_SECONDS, "/")
        told["builtins"] = [item for item in told["builtins"] if item["name"] not in FORBIDDEN]
        return json.dumps({**told, "allow_net": []})

    def _run(self, arguments: Sequence[str], standard_input: str, seconds: float, folder: str) -> dict[str, Any]:
        try:
            ran = subprocess.run(  # noqa: S603 - the program that the operator chose
                ["/bin/sh", "-c", _BOUNDED, "sh", self._program, *arguments],
                input=standard_input.encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
                env=_GO,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise EngineFailed("the policies took too long") from None
        except OSError as error:
            raise EngineFailed(f"the policy engine does not start: {error}") from error
        if len(ran.stdout) > MAX_ANSWER_BYTES:
            raise EngineFailed(f"the policies gave more than {MAX_ANSWER_BYTES} bytes of results")
        for text in (ran.stdout, ran.stderr):
            try:
                told = json.loads(text) if text.strip() else {}
            except ValueError:
                break
            if told or not ran.returncode:
                return told if isinstance(told, dict) else {}
        complaint = ran.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise EngineFailed(f"the policy engine crashed: {complaint[0][:MAX_COMPLAINT_CHARS]}")


class _Folder:
    """Modules and data as files, under names of ours: theirs may be anything."""

    def __init__(self, question: Question, capabilities: str) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="bond-policies-")
        self.path = self._temporary.name
        self._root = Path(self.path)
        self._names: dict[str, str] = {}
        self.files: dict[str, str] = {}
        """Name of a module to its file."""
        for index, (name, source) in enumerate(question.modules):
            self._names[f"m{index}.rego"] = name
            self.files[name] = f"m{index}.rego"
            (self._root / f"m{index}.rego").write_text(source, encoding="utf-8")
        for index, text in enumerate(question.data):
            (self._root / f"d{index}.json").write_text(text, encoding="utf-8")
            self._names[f"d{index}.json"] = ""
        (self._root / "capabilities").write_text(capabilities, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def ask(self, queries: Sequence[str]) -> None:
        lines = [f"package {ASKED}", "", *(f"q{index} := {query}" for index, query in enumerate(queries))]
        (self._root / "asked.rego").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def problem(self, error: dict[str, Any]) -> Problem:
        """One of OPA's errors, about the module as its author calls it."""
        location = error.get("location") or {}
        name = self._names.get(Path(str(location.get("file", ""))).name, "")
        message = f"{error.get('code', '')}: {error.get('message', '')}".strip(": ")
        function = message.rpartition("undefined function ")[2]
        hint = ""
        if function in FORBIDDEN:
            message, hint = f"{function} may not be used", FORBIDDEN[function]
        if not name:
            return Problem(message=message, hint=hint)
        row, column = int(location.get("row", 1)), int(location.get("col", 1))
        return Problem(message=message, hint=hint, file=name, line=row, column=column)
