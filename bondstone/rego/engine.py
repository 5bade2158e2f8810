"""The seam: who evaluates Rego, and what it answers. `engine()` is the one of this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from bondstone.base.errors import Problem

EVALUATION_SECONDS: Final = 10.0
"""Longest time that one policy set may take over one document; then it counts as failed."""
PROCESSES: Final = 2
"""Most engines at work at once in one process of ours."""
MEMORY_BYTES: Final = 2 * 1024**3
"""Address space that an evaluation may take."""
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
MAX_QUESTION_BYTES: Final = 64 * 1024 * 1024
"""Modules, data and document together."""
MAX_COMPLAINT_CHARS: Final = 300

FORBIDDEN: Final = {
    "http.send": "a decision must follow from its recorded input alone, so policies cannot call out",
    "net.lookup_ip_addr": "a decision must follow from its recorded input alone, so policies cannot call out",
    "rand.intn": "a decision must follow from its recorded input alone, and this is another number each time",
    "uuid.rfc4122": "a decision must follow from its recorded input alone, and this is another id each time",
    "opa.runtime": "it would show the environment of the process that runs Bondstone",
}
"""Built-in functions that no policy may call, whichever engine there is, and why."""


class EngineFailed(Exception):
    """The engine did not answer: it took too long, crashed, or ran out of memory. Always means: deny."""


@dataclass(frozen=True, slots=True)
class Question:
    """Policies and what is asked of them.

    Args:
        modules: Name and source of each Rego module.
        queries: Rego terms, such as `data["main"]["deny"]`.
        data: JSON documents that are merged into `data`.
    """

    modules: tuple[tuple[str, str], ...]
    queries: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What the engine said of one query: its value, or why there is none. A set comes as a list."""

    values: tuple[Any, ...] = ()
    """Empty when the query is undefined for the document."""
    error: str = ""
    """With file, line and built-in function, where the engine knows them."""


class Engine(Protocol):
    """Evaluates Rego in a process of its own, bounded in time and memory. Safe to call from many threads."""

    @property
    def version(self) -> str:
        """Which engine, as decisions record it: `opa 1.22.4`."""

    def evaluate(
        self, question: Question, document: str, *, timeout_seconds: float = EVALUATION_SECONDS
    ) -> list[RuleAnswer]:
        """RuleAnswer each query about a document, a JSON text.

        Raises:
            EngineFailed: when there is no answer at all, or the modules do not compile.
        """

    def check(self, question: Question) -> list[Problem]:
        """What is wrong with the modules, each problem with file, line and column."""

    def close(self) -> None:
        """Stop what waits for further questions; the next call starts anew."""
