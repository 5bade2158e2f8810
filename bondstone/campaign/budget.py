"""The failure budget: when it is broken, and when a strict one has no room for another start."""

from __future__ import annotations

from collections.abc import Mapping

from bondstone.campaign import words
from bondstone.model.campaign.state import FAILURES, IN_FLIGHT, CampaignState, Code


def broken(state: CampaignState, wave: int) -> str:
    """How the budget is broken by what failed so far, in words; empty while it is not.

    Args:
        state: The campaign.
        wave: The wave in which something failed.
    """
    rules, now = state.rules, state.waves[wave]
    if rules.max_failures is not None and state.failures - state.forgiven > rules.max_failures:
        return _exceeded(state.counts, state.failures, state.forgiven, rules.max_failures, "the budget")
    allowed, in_wave = rules.waves[wave].max_failures, wave_failures(state, wave)
    if allowed is not None and in_wave - now.forgiven > allowed:
        which = f"the budget of wave {rules.waves[wave].name}"
        return _exceeded(now.counts, in_wave, now.forgiven, allowed, which)
    if rules.max_consecutive_failures is not None and state.consecutive >= rules.max_consecutive_failures:
        return f"{state.consecutive} targets have failed in a row, which is the limit (budget.consecutive)"
    return ""


def broken_now(state: CampaignState) -> str:
    """How a broken budget stands by now: more may have failed since it broke. Empty where it is not broken."""
    if not state.broken:
        return ""
    verdicts = (broken(state, number) for number in range(len(state.waves)))
    return next((verdict for verdict in verdicts if verdict), state.broken)


def _exceeded(counts: Mapping[Code, int], failed: int, forgiven: int, allowed: int, which: str) -> str:
    """A broken budget, with the same numbers as the tables have."""
    accepted = f", {forgiven} of them accepted by a resume" if forgiven else ""
    more = " more" if forgiven else ""
    count = "counts" if failed == 1 else "count"
    how = words.failed(counts)
    return f"{words.targets(failed)} {count} as failed ({how}){accepted}; {which} allows {allowed}{more}"


def limits(state: CampaignState) -> bool:
    """Whether the budget forbids every start."""
    return bool(state.broken) and state.rules.on_failure != "continue"


def may_start_more(state: CampaignState) -> bool:
    """Whether a strict budget leaves room for one more target of the current wave.

    It does while what has failed and what runs may all fail and exceed the budget by no more than the one.
    """
    if state.broken:
        return not limits(state)
    rules, number = state.rules, state.wave
    wave, allowed = state.waves[number], rules.waves[number].max_failures
    strict = rules.overshoot == "strict"
    if strict and rules.max_failures is not None:
        at_risk = state.failures - state.forgiven + len(state.flights)
        if at_risk > rules.max_failures:
            return False
    if allowed is not None and (strict or allowed == 0):
        running = sum(wave.counts.get(code, 0) for code in IN_FLIGHT)
        return wave_failures(state, number) - wave.forgiven + running <= allowed
    return True


def wave_failures(state: CampaignState, wave: int) -> int:
    """How many targets of a wave count as failed."""
    counts = state.waves[wave].counts
    return sum(counts.get(code, 0) for code in FAILURES)
