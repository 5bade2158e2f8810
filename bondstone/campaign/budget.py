"""The failure budget: when it is broken, and when a strict one has no room for another start."""

from __future__ import annotations

from bondstone.model.campaign.state import FAILURES, IN_FLIGHT, CampaignState


def broken(state: CampaignState, wave: int) -> str:
    """How the budget is broken by what failed so far, in words; empty while it is not.

    Args:
        state: The campaign.
        wave: The wave in which something failed.
    """
    rules = state.rules
    failed = state.failures - state.forgiven
    if rules.max_failures is not None and failed > rules.max_failures:
        return f"{failed} targets have failed, {rules.max_failures} may"
    in_wave = wave_failures(state, wave) - state.waves[wave].forgiven
    allowed = rules.waves[wave].max_failures
    if allowed is not None and in_wave > allowed:
        return f"{in_wave} targets of wave {rules.waves[wave].name} have failed, {allowed} may"
    if rules.max_consecutive_failures is not None and state.consecutive >= rules.max_consecutive_failures:
        return f"{state.consecutive} targets have failed in a row"
    return ""


def limits(state: CampaignState) -> bool:
    """Whether the budget forbids every start."""
    return bool(state.broken) and state.rules.on_failure != "continue"


def room(state: CampaignState) -> bool:
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
