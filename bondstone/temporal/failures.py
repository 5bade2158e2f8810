"""Errors across Temporal: our errors as its failures, and its failures as our errors.

A failure carries the stable code as its type, a short text, and the whole `ErrorInfo` as its first detail. The
server cuts the failure of an attempt that is tried again to 4 KiB, and drops its details first; the last one it
keeps whole. What is sent is bounded for both; the rest is in the step's log.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import ValidationError
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    FailureError,
    TerminatedError,
    TimeoutType,
)
from temporalio.exceptions import (
    TimeoutError as TemporalTimeoutError,
)

from bondstone.base.errors import BondError, ErrorInfo, Fenced, Problem, TryLater
from bondstone.base.printable import shorten

MAX_MESSAGE_CHARS: Final = 600
MAX_PROBLEMS: Final = 12
MAX_PROBLEM_CHARS: Final = 1500
MAX_PROBLEMS_CHARS: Final = 3600
"""Of all problems together: the first ones are whole, the others get what is left."""
RETRIED_PROBLEMS_CHARS: Final = 1500
_LEAST_CHARS: Final = 120
_PLACE_CHARS: Final = 160
MAX_ATTEMPTS: Final = 5
SHOWN_PROBLEMS: Final = 3


def to_failure(error: BondError) -> ApplicationError:
    """The failure that carries `error`; retried by Temporal only when the error is transient.

    A fenced attempt is retried too: the next one reads the state anew. The text names the first problems, for
    those who see nothing else: the `temporal` CLI and UI.
    """
    retryable = error.transient or isinstance(error, Fenced)
    info = bounded(error.info(), RETRIED_PROBLEMS_CHARS if retryable else MAX_PROBLEMS_CHARS)
    text = "; ".join([info.message, *map(str, info.problems[:SHOWN_PROBLEMS])])
    return ApplicationError(
        shorten(text, MAX_MESSAGE_CHARS),
        info,
        type=info.code,
        non_retryable=not retryable,
        next_retry_delay=timedelta(seconds=error.after_seconds) if isinstance(error, TryLater) else None,
    )


def bounded(info: ErrorInfo, problems_chars: int = MAX_PROBLEMS_CHARS) -> ErrorInfo:
    """The same error, cut to what fits a failure.

    Args:
        info: Any error.
        problems_chars: Longest text of all problems together.
    """
    problems = info.problems[:MAX_PROBLEMS]
    left_out = len(info.problems) - len(problems)
    cut: list[Problem] = []
    left = problems_chars
    for index, problem in enumerate(problems):
        rest = (len(problems) - index - 1) * _LEAST_CHARS * 2
        budget = min(MAX_PROBLEM_CHARS, max(_LEAST_CHARS, left - rest))
        words = {"message": shorten(problem.message, budget), "hint": shorten(problem.hint, _LEAST_CHARS)}
        cut.append(problem.changed(**words))
        left -= sum(map(len, words.values()))
    if left_out:
        cut.append(Problem(message=f"and {left_out} more"))
    return ErrorInfo(
        code=info.code,
        message=shorten(info.message, MAX_MESSAGE_CHARS),
        where=shorten(info.where, _PLACE_CHARS),
        hint=shorten(info.hint, MAX_MESSAGE_CHARS),
        problems=tuple(cut),
        earlier_attempts=tuple(shorten(why, _PLACE_CHARS) for why in info.earlier_attempts[-MAX_ATTEMPTS:]),
    )


def info_of(error: BaseException) -> ErrorInfo:  # noqa: PLR0911 - one case a line reads best
    """What happened, from an exception as a workflow or a client catches it."""
    if isinstance(error, BondError):
        return error.info()
    if isinstance(error, ApplicationError):
        return _application(error)
    if isinstance(error, CancelledError):
        return ErrorInfo(code="OPERATION_CANCELLED", message="cancelled")
    if isinstance(error, TerminatedError):
        return ErrorInfo(
            code="OPERATION_FAILED",
            message="the workflow was terminated by hand",
            hint="nothing is locked: `bond service retry` plans every step again",
        )
    if isinstance(error, TemporalTimeoutError):
        return _timeout(error)
    if isinstance(error, FailureError) and error.cause is not None:
        return info_of(error.cause)
    return ErrorInfo(code="INTERNAL", message=shorten(f"{type(error).__name__}: {error}", MAX_MESSAGE_CHARS))


def _application(error: ApplicationError) -> ErrorInfo:
    for detail in error.details:
        try:
            return detail if isinstance(detail, ErrorInfo) else ErrorInfo.model_validate(detail)
        except ValidationError:
            continue
    return ErrorInfo(code=error.type or "INTERNAL", message=shorten(error.message, MAX_MESSAGE_CHARS))


def _timeout(error: TemporalTimeoutError) -> ErrorInfo:
    if error.type is TimeoutType.HEARTBEAT:
        return ErrorInfo(
            code="STEP_TIMED_OUT",
            message="the worker stopped reporting while it ran the step",
            hint="look at the executor worker's log; `bond service retry` takes up where it was",
        )
    return ErrorInfo(
        code="STEP_TIMED_OUT",
        message="the step ran longer than its time",
        hint="raise the step's `timeout` in the promise, or look at its log for what it waited for",
    )
