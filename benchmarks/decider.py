"""CPU of the campaign decider for one event, and the size of its state, for 1,000 to 100,000 targets."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta

from benchmarks.report import Report, parser, run, say
from bondstone.campaign.decider import decide, new_campaign
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import CampaignState, Rules, WaveRules
from bondstone.model.service import OperationStatus

SIZES = (1_000, 10_000, 100_000)
CONCURRENT = 50
TEAMS, REGIONS = 20, 3
AIM_RATIO = 1.1


async def measure(options: argparse.Namespace) -> Report:
    report = Report("decider")
    cost: dict[int, list[float]] = defaultdict(list)
    size: dict[int, int] = {}
    abort: dict[int, list[float]] = defaultdict(list)
    for _ in range(options.runs):
        for targets in SIZES:
            seconds, state, now = _drive(targets, options.events)
            cost[targets].append(1e6 * seconds / options.events)
            size[targets] = len(state.model_dump_json(exclude_defaults=True))
            began = time.process_time()
            decide(state, moves.Abort(request_id="r", by="benchmark"), now)
            abort[targets].append(1e3 * (time.process_time() - began))
        say(", ".join(f"{targets}: {cost[targets][-1]:.0f} us" for targets in SIZES))
    for targets in SIZES:
        report.add(f"CPU an event, {targets} targets", "us", *cost[targets])
    ratios = [many / few for few, many in zip(cost[SIZES[0]], cost[SIZES[-1]], strict=True)]
    report.add(f"the same at {SIZES[-1]} over {SIZES[0]}", "", *ratios, at_most=AIM_RATIO)
    for targets in SIZES:
        report.add(f"CPU of an abort, {targets} targets", "ms", *abort[targets])
        report.add(f"state as JSON, {targets} targets, {CONCURRENT} in flight", "bytes", size[targets])
    return report


def _drive(targets: int, events: int) -> tuple[float, CampaignState, datetime]:
    """CPU seconds of so many events; three for each target, one in a hundred fails."""
    rules = Rules(
        campaign="benchmark",
        requested_by="benchmark",
        waves=(WaveRules(name="rest", size=targets),),
        max_concurrent=CONCURRENT,
        max_concurrent_per_group=CONCURRENT // 2,
        max_failures=targets,
    )
    state, now = new_campaign(rules), datetime(2026, 1, 1, tzinfo=UTC)
    waiting: deque[moves.Event] = deque([moves.Tick()])
    spent = 0.0
    for _ in range(events):
        event = waiting.popleft()
        began = time.process_time()
        state, commands = decide(state, event, now)
        spent += time.process_time() - began
        now += timedelta(milliseconds=10)
        for command in commands:
            if isinstance(command, moves.LoadPage):
                keys = [
                    moves.TargetKey(group=f"region-{number % REGIONS}", team=f"team-{number % TEAMS}")
                    for number in range(min(rules.page_size, targets))
                ]
                waiting.append(moves.PageLoaded(page=command.page, targets=tuple(keys)))
            elif isinstance(command, moves.Submit):
                answer = {"target": command.target, "attempt": command.attempt, "operation": 1}
                failed = command.target % 100 == 7
                status = OperationStatus.FAILED if failed else OperationStatus.SUCCEEDED
                waiting.append(moves.AttemptAccepted(**answer))
                waiting.append(moves.AttemptFinished(**answer, status=status))
    return spent, state, now


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="rounds over all sizes (default: %(default)s)")
    options.add_argument("--events", type=int, default=1_800, help="events in each (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
