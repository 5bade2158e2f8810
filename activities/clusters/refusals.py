"""What the API server answers when it does not do something, as typed errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from bondstone.base.errors import BondError, Problem, ToolFailed, ToolUnavailable
from bondstone.base.printable import shorten

_MAX_CAUSES: Final = 50
_MISTYPED: Final = "failed to create typed patch object"
"""What server-side apply answers, with 500, to a field that its kind does not have or that is of another type."""
_REPEATED: Final = re.compile(r'Invalid value: (?=[{\[]|"map\[)')
"""What the API server writes before the value that it refuses, here an object: as JSON, or as Go prints a map."""
_LONGEST_OBJECT: Final = 60
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class ApiRefusal(ToolFailed):
    """The API server said no."""

    status: int = 0
    causes: tuple[Mapping[str, str], ...] = ()
    """Of its Status: each with `field`, `reason` and `message`."""


def refusal(where: str, status: int, data: bytes) -> BondError:
    """The error of an answer that is not what was asked for.

    Args:
        where: The cluster, the method and the path.
        status: Of the answer.
        data: Its body, a Status of the API server or anything else.
    """
    try:
        answer = json.loads(data)
        text = str(answer.get("message") or "")
        causes_given = (answer.get("details") or {}).get("causes") or ()
        causes = tuple(_cause(item) for item in causes_given[:_MAX_CAUSES])
    except (ValueError, AttributeError, TypeError):
        text, causes = "", ()
    text_shown = short(text or data.decode("utf-8", "replace"))
    if status == 500 and _MISTYPED in text:  # noqa: PLR2004 - HTTP's own; it will be wrong the next time, too
        status = 422
    if status in _TRANSIENT:
        return ToolUnavailable(
            f"the API server cannot do it now ({status}): {text_shown}",
            where=where,
            hint="it will be tried again",
        )
    hints = {
        401: "the cluster does not take the worker's credentials: see BOND_CLUSTERS",
        403: "give the worker's identity this right in the cluster (RBAC), or name another cluster",
    }
    problems = [Problem(message=": ".join(filter(None, (item["field"], item["message"])))) for item in causes]
    error = ApiRefusal(
        f"the API server refused ({status}): {text_shown}",
        where=where,
        hint=hints.get(status, ""),
        problems=problems,
    )
    error.status, error.causes = status, causes
    return error


def short(text: str, most: int = 600) -> str:
    """A message on one line; the API server says what is wrong last, behind the object that it repeats."""
    return shorten(" ".join(_without_objects(text).split()), most)


def _cause(item: Mapping[str, Any]) -> dict[str, str]:
    return {key: short(str(item.get(key) or "")) for key in ("field", "reason", "message")}


def _without_objects(text: str) -> str:
    """A message without the objects that it repeats: `Invalid value: {…}: field is immutable`."""
    parts, at = [], 0
    for match in _REPEATED.finditer(text):
        if match.start() < at:
            continue  # inside another one
        try:
            _, end = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
        if end - match.end() > _LONGEST_OBJECT:
            parts += [text[at : match.end()], "{…}"]
            at = end
    return "".join([*parts, text[at:]])
