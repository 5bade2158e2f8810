"""Whether an object is what a `wait` of the section waits for, and why not yet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.status import ObjectVerdict, has_condition
from bondstone.activities.kubernetes.section import Wait

Judge = Callable[[Mapping[str, Any]], ObjectVerdict]


def judge(wait: Wait) -> Judge:
    """What decides whether a wait of the section is over.

    Raises:
        ValueError: when its path is none that is understood.
    """
    if wait.condition:
        name, _, status = wait.condition.partition("=")
        return lambda item: has_condition(item, name, status or "True")
    path = JsonPath(wait.path)

    def on_path(item: Mapping[str, Any]) -> ObjectVerdict:
        try:
            value = path.find(item)
        except KeyError:
            return ObjectVerdict(False, f"{wait.path} is not there")
        if wait.equals is None or value == wait.equals or str(value) == str(wait.equals):
            return ObjectVerdict(True)
        return ObjectVerdict(False, f"{wait.path} is not yet what it should be")

    return on_path
