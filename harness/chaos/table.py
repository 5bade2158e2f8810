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


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: a row for each kind of kill, and one for each side as a whole.

    Kills that hit nothing are counted below it and nowhere else.
    """
    hits = [found for found in outcomes if found.hit or found.kill.victim is Victim.NOTHING]
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for side in Side:
        kinds: dict[tuple[Victim, Moment], list[Outcome]] = defaultdict(list)
        for found in hits:
            if found.kill.side is side:
                kinds[found.kill.victim, found.kill.moment].append(found)
        order: Callable[[tuple[Victim, Moment]], tuple[int, int]] = lambda kind: (  # noqa: E731 - one use
            list(Victim).index(kind[0]),
            list(Moment).index(kind[1]),
        )
        for victim, moment in sorted(kinds, key=order):
            rows.append((side, victim, moment, *_numbers(kinds[victim, moment])))
        killed = [found for kind, group in kinds.items() if kind[0] is not Victim.NOTHING for found in group]
        if killed:
            rows.append((f"**{side}**", "**all**", "", *_numbers(killed)))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([*lines, "", _notes(outcomes)])


def _numbers(group: Sequence[Outcome]) -> tuple[str, ...]:
    seconds = [found.seconds for found in group if found.ready]
    return (
        str(len(group)),
        str(sum(found.ready for found in group)),
        str(sum(found.made_twice for found in group)),
        str(max(found.made_twice for found in group)),
        str(sum(found.begun_twice for found in group)),
        str(sum(found.blocked for found in group)),
        str(sum(len(found.by_hand) for found in group)),
        str(sum(bool(found.lost) for found in group)),
        str(sum(bool(found.left) for found in group)),
        f"{statistics.median(seconds):.1f}" if seconds else "",
        f"{max(seconds):.1f}" if seconds else "",
    )


def _notes(outcomes: Sequence[Outcome]) -> str:
    missed = [found for found in outcomes if not found.hit and found.kill.victim is not Victim.NOTHING]
    broken = [found for found in outcomes if found.kill.side is Side.BONDSTONE and not found.sound]
    notes = [f"{len(outcomes)} runs; {len(missed)} kills came too late to hit anything and are not in the table."]
    notes += [f"- not sound: {found.kill}: {found.error or found.lost or 'blocked'}" for found in broken]
    return "\n".join(notes)
