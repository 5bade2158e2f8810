"""The control activity `health.probe`: does a service work, as its promise says one can tell."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from temporalio import activity

from bondstone import cel
from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.rendering import reveal, reveal_all
from bondstone.base import names
from bondstone.base.errors import BondError
from bondstone.base.redact import Redactor, known_secrets
from bondstone.cel import templates
from bondstone.model.promise import Probe, Promise, seconds
from bondstone.model.service import Health, StepOutputs
from bondstone.model.step import HealthCall, HealthReport, Probes
from bondstone.promise.variables import variables_for
from bondstone.store import Store

ATTEMPT_SECONDS: Final = 5.0
"""Longest time for one look."""


class HealthActivities:
    """What the control worker does to tell whether a service works."""

    def __init__(self, store: Store, checks: Checks | None = None) -> None:
        self._store = store
        self._checks = checks or Checks(store)

    @activity.defn(name=names.HEALTH_PROBE)
    @speaks_failures
    async def probe(self, call: HealthCall) -> HealthReport:
        """Try every probe of the revision until it passes or its `within` is over; all must pass."""
        await self._checks.outputs(call)
        return await self.look(call)

    async def look(self, call: HealthCall) -> HealthReport:
        """As `probe`, for who has checked the call."""
        promise = await self._store.revisions.promise(call.revision)
        trees = (call.inputs, call.service_outputs, [out.values for out in call.outputs.values()])
        revealed = await reveal_all(self._store, call.service, trees)
        variables = variables_for(
            promise,
            service=call.service,
            labels=call.labels,
            kind=call.kind,
            inputs=reveal(call.inputs, revealed),
            outputs={name: StepOutputs(values=reveal(out.values, revealed)) for name, out in call.outputs.items()},
            service_outputs=reveal(call.service_outputs, revealed),
        )
        redact = Redactor(known_secrets(revealed.values()))
        for probe in _probes(promise, call.probes):
            problem = await passes(probe, variables, beat=activity.heartbeat)
            if problem:
                return HealthReport(health=Health.UNHEALTHY, message=f"{_said(probe)}: {redact(problem)}")
        return HealthReport(health=Health.HEALTHY)


async def passes(probe: Probe, variables: cel.Variables, *, beat: Callable[[], None]) -> str:
    """Look until the probe passes; empty when it did, else why it did not at the last look.

    Args:
        probe: What to look at, as the promise declares it.
        variables: What its expressions see.
        beat: Called before each look.
    """
    look = _look(probe, variables)
    deadline = time.monotonic() + seconds(probe.within)
    every = min(seconds(probe.every), seconds(probe.within))
    while True:
        beat()
        problem = await look()
        left = deadline - time.monotonic()
        if not problem or left <= 0:
            return problem
        await _sleep(min(every, left), beat)


def _probes(promise: Promise, which: Probes) -> tuple[Probe, ...]:
    own = {"patch": promise.spec.patch, "upgrade": promise.spec.upgrade}.get(which)
    return own.health if own is not None else promise.spec.health


def _look(probe: Probe, variables: cel.Variables) -> Callable[[], Awaitable[str]]:
    if probe.http is not None:
        url = templates.render(probe.http, variables)
        return lambda: _http(str(url), probe.expect)
    if probe.tcp is not None:
        address = templates.render(probe.tcp, variables)
        return lambda: _tcp(str(address))
    return lambda: _expression(probe.expression or "", variables)


async def _http(url: str, expect: int | None) -> str:
    """One GET: no redirect is followed and no body is read, the address may come from a tool's output."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "the address is not an http or https URL"
    status, problem = await asyncio.to_thread(_status, parts.scheme, parts.netloc, parts.path, parts.query)
    if problem:
        return problem
    healthy = status == expect if expect else 200 <= status < 300  # noqa: PLR2004 - any 2xx
    return "" if healthy else f"answered {status}, expected {expect or '2xx'}"


def _status(scheme: str, netloc: str, path: str, query: str) -> tuple[int, str]:
    factory = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    try:
        with contextlib.closing(factory(netloc.rpartition("@")[2], timeout=ATTEMPT_SECONDS)) as connection:
            connection.request("GET", (path or "/") + (f"?{query}" if query else ""))
            return connection.getresponse().status, ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, f"no answer: {_reason(error)}"


async def _tcp(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return "the address is not HOST:PORT"
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, OverflowError) as error:
        return f"no connection: {_reason(error)}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


async def _expression(expression: str, variables: cel.Variables) -> str:
    try:
        value: Any = cel.evaluate(expression, variables)
    except BondError as error:
        return error.message
    return "" if value is True else "the expression is not true"


async def _sleep(total: float, beat: Callable[[], None]) -> None:
    """Sleep, beating often enough that nobody thinks we died."""
    end = time.monotonic() + total
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, ATTEMPT_SECONDS))
        beat()


def _said(probe: Probe) -> str:
    """Which probe it was, as written: its value may hold a secret."""
    return f"health {probe.http or probe.tcp or probe.expression}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
