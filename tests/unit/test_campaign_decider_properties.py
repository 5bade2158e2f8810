"""Random campaigns in a bad world, and every rule checked from their traces.

BOND_CAMPAIGN_CASES sets how many (10,000 before a release, see CONTRIBUTING).
"""

from __future__ import annotations

import os

from campaign_checker import Checker
from campaign_world import FOREVER, START, Chaos, World, recount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondstone.model.campaign.events import TargetKey
from bondstone.model.campaign.state import Code, Rules, WaveRules
from bondstone.model.service import Need

CASES = int(os.environ.get("BOND_CAMPAIGN_CASES", "60"))


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    scope = draw(st.sampled_from(["campaign", "wave", "none"]))
    budget = draw(st.sampled_from([0, 0, 1, 1, 2, 3, 5]))
    waves = []
    for number in range(draw(st.integers(1, 4))):
        asks = draw(st.sampled_from([0, 0, 0, 1, 2]))
        max_failures = draw(st.sampled_from([None, None, 0, 1]))
        waves.append(
            WaveRules(
                name=f"w{number}",
                size=draw(st.integers(0, 8)),
                max_concurrent=draw(st.sampled_from([None, None, 1, 2, 3])),
                max_failures=max_failures if max_failures is not None else budget if scope == "wave" else None,
                soak_seconds=draw(st.sampled_from([0, 0, 100, 1000])),
                needs=(Need(roles=("sre",), count=asks),) if asks else (),
                expires_seconds=draw(st.sampled_from([0, 0, 300, 5000])),
            )
        )
    rate = draw(st.sampled_from([(0, 60), (0, 60), (0, 60), (1, 10), (3, 60), (4, 2), (6, 3)]))
    return Rules(
        campaign="c",
        requested_by="ada",
        targets_digest="d" * 64,
        waves=tuple(waves),
        page_size=draw(st.sampled_from([2, 3, 5, 50])),
        max_concurrent=draw(st.integers(1, 6)),
        max_concurrent_per_group=draw(st.sampled_from([None, None, 1, 2])),
        start_count=rate[0],
        start_period_seconds=rate[1],
        max_failures=budget if scope == "campaign" else None,
        max_consecutive_failures=draw(st.sampled_from([None, None, 2, 3])),
        overshoot=draw(st.sampled_from(["strict", "allow"])),
        on_failure=draw(
            st.sampled_from(["pause", "pause", "continue", "abort", "rollback_target", "rollback_wave"])
        ),
        retries=draw(st.integers(0, 2)),
        backoff_seconds=draw(st.sampled_from([0, 0, 20, 2000])),
        timeout_seconds=draw(st.sampled_from([500, 5000])),
        busy=draw(st.sampled_from(["wait", "skip", "fail"])),
        unreachable=draw(st.sampled_from(["fail", "skip"])),
        has_calendar=draw(st.booleans()),
        window_end=draw(st.sampled_from(["finish", "cancel"])),
        check_seconds=draw(st.sampled_from([30, 100, 300])),
        cancel_grace_seconds=200,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    made = draw(rules())
    groups, teams = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    keys = [
        TargetKey(
            group=f"g{number % groups}",
            team=f"t{number % teams}",
            skip="compliant" if number % 7 == 3 else "",
        )
        for number in range(made.size)
    ]
    bad = draw(st.sampled_from([0.0, 0.0, 0.05, 0.3]))
    chaos = Chaos(
        lost=bad,
        doubled=draw(st.sampled_from([0.0, 0.3])),
        hang=draw(st.sampled_from([0.0, 0.1])),
        fail=draw(st.sampled_from([0.0, 0.1, 0.4, 0.8])),
        odd=draw(st.sampled_from([0.0, 0.2])),
        unhealthy=draw(st.sampled_from([0.0, 0.0, 0.2])),
        verbs=draw(st.sampled_from([0, 0, 2, 8])),
        restart=draw(st.sampled_from([0.0, 0.3])),
        slow=draw(st.sampled_from([1, 20, 200])),
    )
    windows: list[tuple[float, float, float]] = []
    moment = draw(st.sampled_from([0, 50]))
    if made.has_calendar:
        for _ in range(draw(st.integers(0, 6))):
            length = draw(st.sampled_from([30, 100, 300, 900]))
            windows.append((moment, moment + length, draw(st.sampled_from([0, 10]))))
            moment += length + draw(st.sampled_from([100, 2000]))
        windows.append((moment, FOREVER, 0))
    freezes = [
        (f"t{draw(st.integers(0, 2))}", begin, begin + draw(st.sampled_from([50, 1500])))
        for begin in draw(st.lists(st.sampled_from([0, 100, 700]), max_size=2, unique=True))
    ]
    return World(made, keys, chaos, draw(st.integers(0, 2**32)), windows=windows, freezes=freezes)


def checked(world: World) -> World:
    """Run a world to its end, and check every rule."""
    checker = Checker(
        world.rules,
        world.keys,
        world.may_start,
        window_ends=tuple(end for _, end, _ in world.windows if end < FOREVER),
        unhealthy_possible=world.chaos.unhealthy > 0,
    )
    trace = world.run()
    checker.read(trace)
    for _, what, data in trace:
        if what == "state":
            recount(data)
    for target in range(world.rules.size):
        code = world.state.code(target)
        assert code.outcome is not None
        assert checker.outcome.get(target, "not-attempted") == code.outcome or code is Code.NOT_ATTEMPTED
    return world


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_every_rule_holds_in_a_bad_world(world: World) -> None:
    checked(world)
    assert world.at(0) == START
