"""The control activity `health.probe`: does a service work, as its promise says one can tell."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from temporalio import activity

from bondstone import cel
from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.probing import look_at_http, look_at_tcp
from bondstone.activities.rendering import reveal, reveal_all
from bondstone.activities.tooling.heartbeat import Pulse
from bondstone.base import names
from bondstone.base.errors import BondError
from bondstone.base.printable import shorten
from bondstone.base.redact import Redactor, known_secrets
from bondstone.cel import templates
from bondstone.model.promise import Probe, Promise, seconds
from bondstone.model.service import Health, StepOutputs
from bondstone.model.step import HealthCall, HealthReport, Probes, Progress
from bondstone.promise.variables import variables_for
from bondstone.store import Store

MAX_VALUES: Final = 5
MAX_VALUE_CHARS: Final = 100
"""Of the values that an expression sees: how many are told, and how much of each."""


class HealthActivities:
    """What the control worker does to tell whether a service works."""

    def __init__(self, store: Store, checks: Checks | None = None, *, probe_local: bool = False) -> None:
        self._store = store
        self._checks = checks or Checks(store)
        self._probe_local = probe_local

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
            address = redact(expanded(probe, variables))
            async with Pulse(activity.heartbeat) as pulse:
                pulse.report(Progress(address=address))
                note = partial(_note, pulse, redact)
                problem = await passes(probe, variables, note=note, local=self._probe_local)
            if problem:
                return HealthReport(health=Health.UNHEALTHY, message=f"health {address}: {redact(problem)}")
        return HealthReport(health=Health.HEALTHY)


async def passes(
    probe: Probe, variables: cel.Variables, *, note: Callable[[str], None], local: bool = False
) -> str:
    """Look until the probe passes; empty when it did, else why it did not at the last look.

    Args:
        probe: What to look at, as the promise declares it.
        variables: What its expressions see.
        note: Told after each look why the probe does not pass.
        local: Whether it may look at loopback and link-local addresses.
    """
    look = _look(probe, variables, local=local)
    deadline = time.monotonic() + seconds(probe.within)
    every = min(seconds(probe.every), seconds(probe.within))
    while True:
        problem = await look()
        left = deadline - time.monotonic()
        if not problem or left <= 0:
            return problem
        note(problem)
        await asyncio.sleep(min(every, left))


def _note(pulse: Pulse, redact: Redactor, problem: str) -> None:
    pulse.note(redact(problem))


def _probes(promise: Promise, which: Probes) -> tuple[Probe, ...]:
    change = {"patch": promise.spec.patch, "upgrade": promise.spec.upgrade}.get(which)
    return change.health if change is not None else promise.spec.health


def _look(probe: Probe, variables: cel.Variables, *, local: bool) -> Callable[[], Awaitable[str]]:
    if probe.http is not None:
        url = templates.render(probe.http, variables)
        return lambda: look_at_http(str(url), probe.expect, local=local)
    if probe.tcp is not None:
        address = templates.render(probe.tcp, variables)
        return lambda: look_at_tcp(str(address), local=local)
    return lambda: _expression(probe.expression or "", variables)


async def _expression(expression: str, variables: cel.Variables) -> str:
    try:
        value: Any = cel.evaluate(expression, variables)
    except BondError as error:
        return error.message
    return "" if value is True else "the expression is not true"


def expanded(probe: Probe, variables: cel.Variables) -> str:
    """What a probe looks at, with the values that its expressions have now; mask what is secret in it.

    Args:
        probe: As the promise declares it.
        variables: What its expressions see.
    """
    if probe.expression is None:
        address = str(templates.render(probe.http or probe.tcp or "", variables))
        return f"{'http' if probe.http else 'tcp'} {address}"
    known = [
        f"{name} is {_short(value)}"
        for name, value in sorted(variables.items())
        if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", probe.expression)
    ]
    values = ", ".join(known[:MAX_VALUES])
    return f"{probe.expression} ({values})" if values else probe.expression


def _short(value: Any) -> str:
    return shorten(json.dumps(value, ensure_ascii=False, default=str), MAX_VALUE_CHARS)
