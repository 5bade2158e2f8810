"""The files between a step and its image: what it is told, and what it may say. Pure but for reading them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from bondstone.activities.container.plain_files import MAX_FILE_BYTES, read_plain_file
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import BondError, PlanStale, ToolFailed, ToolUnavailable
from bondstone.base.models import Wire
from bondstone.base.printable import shorten
from bondstone.base.redact import Redactor
from bondstone.model.plan import Action, Change

INPUT: Final = "/bond/input"
OUTPUT: Final = "/bond/output"
STALE: Final = 3
"""Exit code: the plan is overtaken, nothing was done."""
LATER: Final = 75
"""Exit code (EX_TEMPFAIL): something is not there for the moment; try again."""
KILLED: Final = 137

_MESSAGE_CHARS: Final = 400


class ShownChange(Wire):
    """One change of an image's `plan.json`."""

    address: str = Field(min_length=1, max_length=500)
    action: Action
    type: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    unknown: tuple[str, ...] = ()


class ShownPlan(Wire):
    """An image's `plan.json`, after `plan` and after `drift`."""

    changes: tuple[ShownChange, ...] = Field(default=(), max_length=10_000)
    failed_checks: tuple[str, ...] = Field(default=(), max_length=100)


class ShownError(Wire):
    """An image's `error.json`."""

    message: str = ""
    hint: str = ""


def read_json(directory: Path, name: str, where: str) -> Any:
    """A JSON file that an image may have written; None when it has not.

    Raises:
        ToolFailed: when it is no plain file of a sensible size, or no JSON.
    """
    try:
        data = read_plain_file(directory / name)
    except OSError as error:
        raise ToolFailed(f"{OUTPUT}/{name} is not a plain file: {error.strerror}", where=where) from None
    except ValueError:
        text = f"{OUTPUT}/{name} is not a plain file of at most {MAX_FILE_BYTES >> 10} KiB"
        raise ToolFailed(text, where=where) from None
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ToolFailed(f"{OUTPUT}/{name} is not JSON", where=where, hint="correct the image") from None


def read_shown_plan(directory: Path, where: str) -> ShownPlan:
    """What an image says that it would change.

    Raises:
        ToolFailed: when it says nothing, or something else than the contract has.
    """
    value = read_json(directory, "plan.json", where)
    if value is None:
        raise ToolFailed(
            f"the image wrote no {OUTPUT}/plan.json",
            where=where,
            hint="have it write one, or leave `plan` (or `drift`) out of the step's `actions`",
        )
    try:
        return ShownPlan.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ToolFailed(
            f"{OUTPUT}/plan.json: {at}: {first['msg']}", where=where, hint="correct the image"
        ) from None


def changes_of(shown: ShownPlan, redact: Redactor) -> list[Change]:
    """Its changes, secrets masked, with digests of the values as they are."""
    return [
        Change(
            **redact.masked(change.model_dump(mode="json")),
            fingerprints={"after": digest(canonical(change.after))} if change.after is not None else {},
        )
        for change in shown.changes
    ]


def read_outputs(directory: Path, where: str) -> dict[str, Any]:
    """What an image gives.

    Raises:
        ToolFailed: when its file is not a JSON object.
    """
    value = read_json(directory, "outputs.json", where)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolFailed(f"{OUTPUT}/outputs.json is not an object", where=where, hint="correct the image")
    return value


def failure(
    code: int, action: str, directory: Path, where: str, *, complaint: str, out_of_memory: bool
) -> BondError:
    """The typed error for a run that failed."""
    error = ShownError()
    with suppress(ToolFailed, ValidationError):
        error = ShownError.model_validate(read_json(directory, "error.json", where) or {})
    words = shorten(error.message or complaint or f"exit code {code}", _MESSAGE_CHARS)
    if code == STALE:
        return PlanStale(f"the image says that its plan is stale: {words}", where=where, hint="plan again")
    if code == LATER:
        return ToolUnavailable(f"the image could not {action} for the moment: {words}", where=where)
    if out_of_memory:
        return ToolFailed(
            f"the container exceeded its memory limit during {action}, and was killed",
            where=where,
            hint="raise `memory_mib` of the step",
        )
    if code == KILLED:
        return ToolFailed(
            f"the container was killed during {action}; its effects until then remain",
            where=where,
            hint="find out what killed it, then `bond service retry`: it is not run again by itself",
        )
    hint = error.hint or "the log of the step has what it printed"
    return ToolFailed(f"the image failed to {action} (exit code {code}): {words}", where=where, hint=hint)
