"""Crossplane: when what it looks after is ready, and what below it keeps it from being so or from going.

Facts of Crossplane 2.3 and its runtime (`pkg/xcrd`, `apis/core/v2/condition.go`): the kinds that a definition
brings are in the category `claim` or `composite`, those of providers in `managed`; a claim names its composite in
`spec.resourceRef`; a composite names what is composed in `spec.crossplane.resourceRefs`, before version 2 in
`spec.resourceRefs`; conditions carry the generation that they were set for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from bondstone.activities.clusters.api import Resource
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.refusals import ApiRefusal
from bondstone.activities.clusters.status import (
    ROLLED_OUT,
    ObjectVerdict,
    condition_of,
    cut,
    has_condition,
    rollout,
    stuck_reason,
)
from bondstone.activities.kubernetes.session import FORBIDDEN, Api
from bondstone.base.errors import BondError

CATEGORIES: Final = frozenset({"claim", "composite", "managed"})
"""Of the kinds that have the conditions `Synced` and `Ready`."""
MAX_DEPTH: Final = 8
MAX_BELOW: Final = 200
"""Most objects that are looked at below one."""

_COMPOSED: Final = "crossplane.io/composition-resource-name"
_DEFINITIONS: Final = "apiextensions.crossplane.io"
_PACKAGES: Final = "pkg.crossplane.io"

Reason = Callable[[Resource | None, Mapping[str, Any]], str]


def expected_conditions(resource: Resource | None, item: Mapping[str, Any]) -> tuple[str, ...]:
    """The conditions that an object has once Crossplane is done with it; none for what is not Crossplane's.

    Args:
        resource: Its kind, as it is served.
        item: The object, or its manifest.
    """
    group, kind = str(item.get("apiVersion", "")).rpartition("/")[0], item.get("kind")
    if (group, kind) == (_DEFINITIONS, "CompositeResourceDefinition"):
        return ("Established", "Offered") if (item.get("spec") or {}).get("claimNames") else ("Established",)
    if group == _PACKAGES and kind in {"Configuration", "Function", "Provider"}:
        return ("Installed", "Healthy")
    if resource is not None and resource.categories & CATEGORIES:
        return ("Synced", "Ready")
    return ()


def has_current(item: Mapping[str, Any], names: Iterable[str]) -> ObjectVerdict:
    """Whether all of some conditions are true of the object as it is now, not of a generation before.

    A condition that does not say which generation it is of, as older versions leave it out, is taken at its word.
    """
    generation = int((item.get("metadata") or {}).get("generation") or 0)
    for name in names:
        verdict = has_condition(item, name, "True")
        observed = condition_of(item, name).get("observedGeneration")
        if observed is not None and int(observed) < generation:
            words = f"condition {name} is of generation {observed}, and the object is at {generation}"
            return ObjectVerdict(False, f"{words}: not seen by its controller yet")
        if not verdict.done:
            return verdict
    return ObjectVerdict(True)


def composed_refs(item: Mapping[str, Any]) -> list[Ref]:
    """What an object is made of: the composite of a claim, what is composed for a composite."""
    spec = item.get("spec")
    if not isinstance(spec, Mapping):
        return []
    namespace = str((item.get("metadata") or {}).get("namespace") or "")
    modern = spec.get("crossplane")
    named = [spec.get("resourceRef"), *_entries(spec), *(_entries(modern) if isinstance(modern, Mapping) else ())]
    return [
        Ref(str(one["apiVersion"]), str(one["kind"]), str(one.get("namespace") or namespace), str(one["name"]))
        for one in named
        if isinstance(one, Mapping) and one.get("apiVersion") and one.get("kind") and one.get("name")
    ]


async def unready_below(api: Api, item: Mapping[str, Any]) -> list[str]:
    """Why an object is not ready, by what stands below it: the deepest first.

    Args:
        api: The cluster.
        item: The object, as it is.
    """

    def reason(resource: Resource | None, live: Mapping[str, Any]) -> str:
        verdict = _verdict(resource, live)
        return "" if verdict.done else verdict.why

    return await _walk(api, item, reason, missing="it does not exist yet")


async def holding_below(api: Api, item: Mapping[str, Any]) -> list[str]:
    """What stands below an object that was deleted, and what holds each of it: the deepest first."""

    def reason(_: Resource | None, live: Mapping[str, Any]) -> str:
        synced = condition_of(live, "Synced")
        error = f"; Synced is False: {synced.get('message')}" if synced.get("status") == "False" else ""
        return cut(stuck_reason(live) + error)

    return await _walk(api, item, reason, missing="")


def _entries(spec: Mapping[str, Any]) -> list[Any]:
    refs = spec.get("resourceRefs")
    return refs if isinstance(refs, list) else []


def _verdict(resource: Resource | None, live: Mapping[str, Any]) -> ObjectVerdict:
    if names := expected_conditions(resource, live):
        return has_current(live, names)
    if live.get("kind") in ROLLED_OUT:
        return rollout(live)
    return has_condition(live, "Ready", "True") if condition_of(live, "Ready") else ObjectVerdict(True)


async def _walk(api: Api, root: Mapping[str, Any], reason: Reason, *, missing: str) -> list[str]:
    """A line for each object below one of which there is something to say; what cannot be read says so."""
    levels: list[list[str]] = []
    known = {Ref.of(root)}
    level, looked_at = [root], 0
    while level and len(levels) < MAX_DEPTH:
        refs = [ref for item in level for ref in _at_its_place(item, known)][: MAX_BELOW - looked_at]
        looked_at += len(refs)
        level, lines = [], []
        for ref in refs:
            try:
                live, line = await _look(api, ref, reason, missing)
            except BondError as error:
                live, line = None, f"{ref.address}: it cannot be looked at: {cut(error.message)}"
            level += [live] if live is not None else []
            lines += [line] if line else []
        levels.append(lines)
    return [line for lines in reversed(levels) for line in lines]


async def _look(api: Api, ref: Ref, reason: Reason, missing: str) -> tuple[Mapping[str, Any] | None, str]:
    """An object, and what is to be said of it."""
    resource = await api.resource(ref)
    if resource is not None and not resource.namespaced:
        ref = Ref(ref.api_version, ref.kind, "", ref.name)
    elif ref.namespace:
        api.cluster.connection.check_namespace(ref.namespace)
    live = await api.get(ref)
    if live is None:
        return None, missing and f"{ref.address}: {missing}"
    name = ((live.get("metadata") or {}).get("annotations") or {}).get(_COMPOSED)
    words = reason(resource, live)
    if not words:
        return live, ""
    return live, f"{ref.address}{f' ({name})' if name else ''}: {words}{await _last_warning(api, live, words)}"


def _at_its_place(item: Mapping[str, Any], known: set[Ref]) -> Iterator[Ref]:
    for ref in composed_refs(item):
        if ref not in known:
            known.add(ref)
            yield ref


async def _last_warning(api: Api, item: Mapping[str, Any], words: str) -> str:
    """The newest warning about an object that its conditions have not given; nothing without the right to it."""
    try:
        events = await api.events(item)
    except ApiRefusal as error:
        if error.status != FORBIDDEN:
            raise
        return ""
    since = str(item["metadata"].get("deletionTimestamp") or "")  # what went wrong before says nothing of it
    warnings = [event for event in events if event.get("type") == "Warning" and _when(event) >= since]
    if not warnings:
        return ""
    last = max(warnings, key=_when)
    message = " ".join(str(last.get("message") or "").split())
    if not message or message in words:
        return ""
    return cut(f"; event {last.get('reason')}: {message}")


def _when(event: Mapping[str, Any]) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return str(next((time for time in times if time), ""))
