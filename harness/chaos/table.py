"""What many kills came to, by who was killed and when. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from harness.chaos.kills import Moment, Side, Victim
from harness.chaos.outcome import Outcome

HEAD: Final = (
    "side", "killed", "at", "runs", "ready", "made twice: sum", "max", "begun twice: sum", "blocked", "by hand",
    "lost", "left", "seconds: median", "max",
)  # fmt: skip

OURS: Final = frozenset({Side.BONDSTONE, Side.COMPOUND})
"""The sides of which everything must be sound."""


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: a row for each kind of kill, and one for each side as a whole.

    Kills that hit nothing are counted below it and nowhere else.
    """
    hits = [outcome for outcome in outcomes if outcome.hit or outcome.kill.victim is Victim.NOTHING]
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for side in Side:
        kinds: dict[tuple[Victim, Moment], list[Outcome]] = defaultdict(list)
        for outcome in hits:
            if outcome.kill.side is side:
                kinds[outcome.kill.victim, outcome.kill.moment].append(outcome)
        order: Callable[[tuple[Victim, Moment]], tuple[int, int]] = lambda kind: (  # noqa: E731 - one use
            list(Victim).index(kind[0]),
            list(Moment).index(kind[1]),
        )
        for victim, moment in sorted(kinds, key=order):
            rows.append((side, victim, moment, *_numbers(kinds[victim, moment])))
        killed = [outcome for kind, group in kinds.items() if kind[0] is not Victim.NOTHING for outcome in group]
        if killed:
            rows.append((f"**{side}**", "**all**", "", *_numbers(killed)))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([*lines, "", _notes(outcomes)])


def _numbers(group: Sequence[Outcome]) -> tuple[str, ...]:
    seconds = [outcome.seconds for outcome in group if outcome.ready]
    return (
        str(len(group)),
        str(sum(outcome.ready for outcome in group)),
        str(sum(outcome.made_twice for outcome in group)),
        str(max(outcome.made_twice for outcome in group)),
        str(sum(outcome.begun_twice for outcome in group)),
        str(sum(outcome.blocked for outcome in group)),
        str(sum(len(outcome.by_hand) for outcome in group)),
        str(sum(bool(outcome.lost) for outcome in group)),
        str(sum(bool(outcome.left) for outcome in group)),
        f"{statistics.median(seconds):.1f}" if seconds else "",
        f"{max(seconds):.1f}" if seconds else "",
    )


def _notes(outcomes: Sequence[Outcome]) -> str:
    missed = [outcome for outcome in outcomes if not outcome.hit and outcome.kill.victim is not Victim.NOTHING]
    broken = [outcome for outcome in outcomes if outcome.kill.side in OURS and not outcome.sound]
    notes = [f"{len(outcomes)} runs; {len(missed)} kills came too late to hit anything and are not in the table."]
    notes += [f"- not sound: {outcome.kill}: {outcome.error or outcome.lost or 'blocked'}" for outcome in broken]
    return "\n".join(notes)
