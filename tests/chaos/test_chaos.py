"""Rule 2, a short run of `python -m harness.chaos`: a handful of its kills, the first of each kind wanted.

`tests/integration/test_kills.py` looks closer at single kills; this looks at what the long run counts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.chaos import lanes
from harness.chaos.kills import Kill, Moment, Side, Victim, compound_kills, kills, plain_kills, undisturbed
from harness.chaos.outcome import Outcome

pytestmark = [pytest.mark.integration, pytest.mark.kills]

SEED = 4
THINGS = 8
WANTED = (
    (Victim.WORKER, Moment.UPLOAD),
    (Victim.TERRAFORM, Moment.APPLY),
    (Victim.SERVER, Moment.APPLY),
    (Victim.WORKER, Moment.APPROVAL),
    (Victim.SERVER, Moment.COMMIT),
)
"""The first one waits for a heartbeat's timeout: one lane is busy with it while the other does the rest."""


WITH_PARTS = (
    (Victim.WORKER, Moment.APPLY, True),
    (Victim.MACHINE, Moment.APPROVAL, True),
    (Victim.SERVER, Moment.COMMIT, False),
)
"""The same of a service with a part; the last says whether it is about the part."""


def chosen() -> list[Kill]:
    """The kills of the seed that are wanted, in the order in which they are wanted."""
    collected: dict[tuple[Victim, Moment], Kill] = {}
    for kill in kills(SEED, 60, things=THINGS):
        collected.setdefault((kill.victim, kill.moment), kill)
    parts: dict[tuple[Victim, Moment, bool], Kill] = {}
    for kill in compound_kills(SEED, 120, things=THINGS):
        parts.setdefault((kill.victim, kill.moment, kill.of_part), kill)
    return [*(collected[kind] for kind in WANTED), *(parts[kind] for kind in WITH_PARTS)]


async def test_rule_2_after_any_kill_the_service_is_ready_and_nothing_lost_locked_or_left(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    await lanes.carry_out(chosen(), tmp_path, outcomes.append, things_each=THINGS, lanes=2)
    assert len(outcomes) == len(WANTED) + len(WITH_PARTS)
    for outcome in outcomes:
        text = f"{outcome.kill}: {outcome}"
        assert outcome.ready, text
        assert outcome.hit, text
        assert not outcome.blocked, text
        assert not outcome.lost, text
        assert not outcome.left, text
        dies = outcome.kill.victim in {Victim.TERRAFORM, Victim.BOTH, Victim.MACHINE}
        assert outcome.made_twice <= (1 if dies else 0), text
        # Terraform that dies while it rewrites its state loses what it made just before, too
        assert outcome.begun_twice <= (2 if dies else 1), text


async def test_the_baseline_sees_a_lock_that_plain_terraform_leaves(tmp_path: Path) -> None:
    kill = next(
        kill
        for kill in plain_kills(SEED, 60, things=THINGS)
        if (kill.side, kill.victim, kill.moment) == (Side.REMOTE, Victim.MACHINE, Moment.APPLY) and kill.thing
    )
    quiet = next(kill for kill in undisturbed(1) if kill.side is Side.REMOTE)
    outcomes: list[Outcome] = []
    await lanes.carry_out([quiet, kill], tmp_path, outcomes.append, things_each=THINGS)
    undisturbed_one, killed = outcomes
    assert undisturbed_one.ready, undisturbed_one
    assert (undisturbed_one.by_hand, undisturbed_one.made_twice, undisturbed_one.lost) == ([], 0, [])
    assert killed.ready, killed
    assert killed.by_hand == ["apply", "force-unlock", "apply"]
    assert killed.made_twice >= kill.thing, "what was made before the kill was in no state yet"
