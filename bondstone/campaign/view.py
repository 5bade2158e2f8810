"""A campaign as people see it: from the machine's state to a description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from typing import Literal

from bondstone.campaign import budget
from bondstone.campaign.decider import status
from bondstone.model.campaign.run import (
    MAX_FLIGHTS_SHOWN,
    CampaignDescription,
    CampaignInput,
    FlightView,
    Frozen,
    TargetRecord,
    WaveProgress,
)
from bondstone.model.campaign.state import (
    FAILURES,
    IN_FLIGHT,
    CampaignState,
    Code,
    Flight,
    Paused,
    Stage,
    WaveState,
)


def describe(
    name: str,
    start: CampaignInput,
    frozen: Frozen | None = None,
    state: CampaignState | None = None,
    *,
    service_of: Callable[[int], str] = lambda _: "",
    batches: int = 0,
    recent: Sequence[TargetRecord] = (),
    most_flights: int = MAX_FLIGHTS_SHOWN,
) -> CampaignDescription:
    """All that a page about a campaign shows.

    Args:
        name: Of the campaign.
        start: What it was started with.
        frozen: What it was frozen to, once it was.
        state: Where it is, once it is frozen.
        service_of: `TEAM/NAME` of a target, or nothing when that is not at hand.
        batches: Batches of its ledger in the store.
        recent: Records that are not there yet.
        most_flights: How many of those that run are shown.
    """
    known = CampaignDescription(
        name=name,
        requested_by=start.requested_by,
        reason=start.reason,
        linked=start.linked,
        supersedes=start.supersedes,
        pinned=start.pinned,
        schedule=start.schedule,
    )
    if frozen is None or state is None:
        return known
    gate = state.waves[state.wave].gate if state.waves else None
    at_gate = state.stage is Stage.GATE and gate is not None and gate.status == "waiting"
    return known.changed(
        status=status(state),
        frozen=True,
        job=frozen.job,
        reason=start.reason or frozen.job.reason,
        targets=state.rules.size,
        targets_digest=state.rules.targets_digest,
        counts=counted(state.counts),
        failures=state.failures,
        left_out=frozen.left_out,
        waves=tuple(_wave(state, number) for number in range(len(state.waves))),
        wave=state.rules.waves[state.wave].name if state.waves else "",
        max_concurrent=state.max_concurrent,
        paused=_paused(state),
        broken=budget.broken_now(state),
        ending=f"{state.ending.status}: {state.ending.reason}" if state.ending else "",
        waiting_for=gate if at_gate else None,
        running=len(state.flights),
        awaiting=sum(flight.awaiting for flight in state.flights.values()),
        queued=sum(bool(_waits(flight)) for flight in state.flights.values()),
        flights=tuple(
            _flight(target, state.flights[target], service_of(target))
            for target in nsmallest(
                most_flights, state.flights, lambda each: (not state.flights[each].awaiting, each)
            )
        ),
        calendar=state.calendar,
        started_at=state.started_at,
        ended_at=state.ended_at,
        rules=state.rules,
        batches=batches,
        recent=tuple(recent),
    )


def _paused(state: CampaignState) -> Paused | None:
    """By whom and why, a broken budget in the numbers of now."""
    paused = state.paused
    if paused is None or not state.broken or paused.reason != state.broken:
        return paused
    return paused.changed(reason=budget.broken_now(state))


def counted(counts: Mapping[Code, int]) -> dict[str, int]:
    """Targets by outcome, and `waiting` and `running`; no zeros."""
    totals: dict[str, int] = {}
    for code, count in counts.items():
        key = "waiting" if code is Code.WAITING else "running" if code in IN_FLIGHT else str(code.outcome)
        totals[key] = totals.get(key, 0) + count
    return totals


def _wave(state: CampaignState, number: int) -> WaveProgress:
    rules, wave = state.rules.waves[number], state.waves[number]
    current = number == state.wave
    return WaveProgress(
        name=rules.name,
        size=rules.size,
        status=_wave_status(state, wave, current=current, past=number < state.wave),
        counts=counted(wave.counts),
        failures=sum(wave.counts.get(code, 0) for code in FAILURES),
        max_failures=rules.max_failures,
        max_concurrent=rules.max_concurrent,
        gate=wave.gate,
        started_at=wave.started_at,
        last_success_at=wave.last_success_at,
        soak_seconds=rules.soak_seconds,
        soak_until=state.soak_until if current else None,
        ended_at=wave.ended_at,
    )


def _wave_status(
    state: CampaignState, wave: WaveState, *, current: bool, past: bool
) -> Literal["waiting", "gate", "running", "soaking", "done", "not-attempted"]:
    if state.result is not None:
        left = wave.started_at is None and wave.counts.get(Code.NOT_ATTEMPTED)
        return "not-attempted" if left else "done"
    if wave.ended_at is not None and not wave.counts.get(Code.WAITING):
        return "done"
    if not current:
        passed = wave.started_at is not None or past
        return "done" if passed and not _open(wave) else "waiting"
    if state.stage is Stage.GATE:
        return "gate" if wave.gate is not None and wave.gate.status == "waiting" else "waiting"
    return "soaking" if state.stage in {Stage.SOAKING, Stage.PROBING} else "running"


def _open(wave: WaveState) -> bool:
    return any(wave.counts.get(code) for code in (Code.WAITING, *IN_FLIGHT))


def _waits(flight: Flight) -> str:
    """What a target that holds a slot waits for before its next attempt, in words; empty when it is at work."""
    if flight.busy_since is not None and flight.phase in {"between", "submitted"}:
        return f"waits for its turn: {flight.busy or 'another operation has not ended'}"
    return "waits for its next attempt" if flight.phase == "between" else ""


def _flight(target: int, flight: Flight, service: str) -> FlightView:
    return FlightView(
        target=target,
        service=service,
        attempt=flight.attempt,
        tries=flight.tries,
        phase=flight.phase,
        stalled=_waits(flight) or flight.stalled,
        awaiting=flight.awaiting,
        queued=bool(_waits(flight)),
        operation=f"{service}/op/{flight.operation}" if service and flight.operation else "",
        started_at=flight.started_at,
        error=flight.error,
    )
