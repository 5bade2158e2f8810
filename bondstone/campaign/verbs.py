"""What people ask of a campaign: what is refused, and what the rest does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bondstone.base.errors import BondError, InvalidInput, NotFound, Refused
from bondstone.campaign import budget, gate, interruptions, target_starts, words
from bondstone.campaign.transition import Turn
from bondstone.model.approval import voted
from bondstone.model.campaign.events import (
    Abort,
    AnyVerb,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    Retry,
    RollbackTargets,
    SetConcurrency,
    Skip,
    StartLinked,
    Supersede,
)
from bondstone.model.campaign.state import (
    IN_FLIGHT,
    CampaignState,
    CampaignStatus,
    Code,
    Ending,
    Paused,
    RollbackOrder,
    Stage,
)
from bondstone.model.service import Vote

MOST_CONCURRENT: Final = 1000
"""A workflow may have 2,000 signals under way."""
SEEN_REQUESTS: Final = 500

RETRIED: Final = {
    "failed": (Code.FAILED, Code.TIMED_OUT, Code.UNREACHABLE, Code.ROLLED_BACK_FAILED),
    "not-started": (Code.REFUSED, Code.SKIPPED, Code.NOT_ATTEMPTED),
}
"""Which targets `retry` takes up again."""
RETRIED["all"] = (*RETRIED["failed"], *RETRIED["not-started"], Code.ROLLED_BACK)

ROLLED_BACK: Final = {
    "failed": (Code.FAILED, Code.TIMED_OUT),
    "wave": (Code.SUCCEEDED, Code.FAILED, Code.TIMED_OUT),
    "all": (Code.SUCCEEDED, Code.FAILED, Code.TIMED_OUT),
}
"""Which targets `rollback` takes back."""


def rolled_back(state: CampaignState, which: str) -> tuple[Code, ...]:
    """Which targets `rollback` takes back in a campaign that still runs."""
    old = state.edition < 1 and state.result is None  # after the end, a campaign of today does it
    return (Code.SUCCEEDED,) if which == "all" and old else ROLLED_BACK[which]


_TURNED = frozenset({Stage.DRAINING, Stage.ROLLING_BACK})


def refusal(state: CampaignState, verb: AnyVerb) -> BondError | None:
    """Why a verb has no place now, in words with a hint; None when `decide` will do it.

    A request id that was seen before is never refused again: its verb is done.
    """
    where = state.rules.campaign
    earlier = state.seen_requests.get(verb.request_id)
    if earlier is not None:
        if earlier == verb.kind:
            return None
        return InvalidInput(
            f"the request id {verb.request_id} was a {earlier}, and is a {verb.kind} now",
            where=where,
            hint="choose a new request id for each request",
        )
    if state.result is not None:
        return _refused_after_the_end(state, verb)
    if state.stage is Stage.ABORTING and not isinstance(verb, Abort):
        return Refused(
            "the campaign is being aborted", where=where, hint="`retry` starts a linked campaign once it has ended"
        )
    problem = _problem(state, verb)
    return (
        problem
        if problem is None or problem.where
        else type(problem)(problem.message, where=where, hint=problem.hint)
    )


def apply(turn: Turn, verb: AnyVerb) -> None:
    """Do what a person asks, once; what is refused is without effect."""
    state = turn.state
    if verb.request_id in state.seen_requests or refusal(state, verb) is not None:
        return
    recent = [*state.seen_requests.items(), (verb.request_id, verb.kind)][-SEEN_REQUESTS:]
    state.seen_requests = dict(recent)
    turn.note(verb.kind, by=verb.by, reason=verb.reason, request_id=verb.request_id)
    if state.result is not None:
        if isinstance(verb, Retry | RollbackTargets):
            turn.commands.append(StartLinked(verb=verb))
        return
    _do(turn, verb)


def chosen(state: CampaignState, verb: Retry | RollbackTargets) -> list[int]:
    """The targets that a verb on an ended campaign is about, for the linked campaign."""
    codes: frozenset[str] = frozenset(RETRIED[verb.which] if isinstance(verb, Retry) else ROLLED_BACK[verb.which])
    status, first = "".join(state.pages), 0
    last = len(status)
    if isinstance(verb, RollbackTargets) and verb.which == "wave":
        first = state.starts[state.wave]
        last = first + state.rules.waves[state.wave].size
    return [target for target in range(first, last) if status[target] in codes]


def effect(state: CampaignState, verb: AnyVerb) -> tuple[str, ...]:  # noqa: PLR0911 - a case for each verb
    """What a verb does and does not touch, a sentence each; empty where it is refused or was done before.

    Args:
        state: The campaign before the verb.
        verb: What is asked.
    """
    if verb.request_id in state.seen_requests or refusal(state, verb) is not None:
        return ()
    waiting, running = state.counts.get(Code.WAITING, 0), len(state.flights)
    match verb:
        case Pause():
            return (f"{words.targets(waiting)} not started will wait; {running} running go on",)
        case Resume() if state.broken:
            return (f"{words.targets(state.failures)} that failed are accepted and stay as they are",)
        case Resume():
            return ()
        case Abort() | Supersede():
            ends = "are cancelled" if isinstance(verb, Abort) and verb.running == "cancel" else "finish"
            done = state.rules.size - waiting - running
            return (
                f"{words.targets(waiting)} not started will not be attempted; {running} running {ends}",
                f"{done} that ended before stay as they are",
            )
        case SetConcurrency() if verb.max_concurrent < running:
            return (f"{running} run now; none of them is stopped",)
        case NextWave():
            return ("the targets of the wave are still probed before the next wave begins",)
        case Retry() | RollbackTargets():
            return _chosen_and_left(state, verb)
        case _:
            return ()


def _chosen_and_left(state: CampaignState, verb: Retry | RollbackTargets) -> tuple[str, ...]:
    """How many targets a retry or rollback takes up, and how many of which kind it leaves alone."""
    codes = RETRIED[verb.which] if isinstance(verb, Retry) else rolled_back(state, verb.which)
    counts: Mapping[Code, int] = state.counts
    if isinstance(verb, RollbackTargets) and verb.which == "wave":
        counts = state.waves[state.wave].counts
    does = "retries" if isinstance(verb, Retry) else "rolls back"
    sentences = [f"{does} {_by_outcome(counts, codes) or 'no target that has ended'}"]
    running = sum(counts.get(code, 0) for code in IN_FLIGHT)
    if running and isinstance(verb, RollbackTargets):
        sentences.append(f"{running} running finish first, and go back too where they end like these")
    left = [code for code in Code if code.outcome is not None and code not in codes]
    if untouched := _by_outcome(counts, left):
        sentences.append(f"does not touch {untouched}")
    if isinstance(verb, RollbackTargets) and (waiting := counts.get(Code.WAITING, 0)):
        sentences.append(f"does not touch {waiting} not started")
    return tuple(sentences)


def _by_outcome(counts: Mapping[Code, int], codes: Iterable[Code]) -> str:
    """`3 succeeded, 1 timed-out`."""
    totals: dict[str, int] = {}
    for code in codes:
        if count := counts.get(code, 0):
            totals[str(code.outcome)] = totals.get(str(code.outcome), 0) + count
    return ", ".join(f"{count} {outcome}" for outcome, count in totals.items())


# What is refused -----------------------------------------------------------------------------------------


def _refused_after_the_end(state: CampaignState, verb: AnyVerb) -> BondError | None:
    where = state.rules.campaign
    if not isinstance(verb, Retry | RollbackTargets):
        return Refused(
            f"the campaign has ended: {state.result}",
            where=where,
            hint="`retry` and `rollback` start a linked one",
        )
    codes = RETRIED[verb.which] if isinstance(verb, Retry) else ROLLED_BACK[verb.which]
    if not any(state.counts.get(code) for code in codes):
        return Refused(f"there is no target to {verb.kind}: {verb.which}", where=where)
    return None


def _problem(state: CampaignState, verb: AnyVerb) -> BondError | None:  # noqa: C901, PLR0911, PLR0912 - a case for each verb
    match verb:
        case Pause() if state.paused is not None and state.paused.cause == "verb":
            return Refused(f"{state.paused.by} has paused it already")
        case Resume() if state.paused is None:
            return Refused("the campaign is not paused", hint="`bond campaign show` says what it waits for")
        case Abort():
            ending = state.ending
            if ending is not None and (ending.cancel or verb.running == "drain"):
                return Refused("it is being aborted already", hint="wait: running operations finish first")
        case Skip():
            return _skip_problem(state, verb)
        case SetConcurrency() if not 1 <= verb.max_concurrent <= MOST_CONCURRENT:
            return InvalidInput(
                f"a concurrency of {verb.max_concurrent} is not possible",
                hint=f"1 to {MOST_CONCURRENT}; to start nothing, `pause`",
            )
        case NextWave() if state.stage is not Stage.SOAKING:
            return Refused("no wave is soaking", hint="the next wave starts when this one is done")
        case Retry() if state.stage in _TURNED:
            return Refused("targets are being rolled back", hint="retry when that is done")
        case Retry() if not any(state.counts.get(code) for code in RETRIED[verb.which]):
            return Refused(f"there is no target to retry: {verb.which}")
        case RollbackTargets() if state.stage in _TURNED:
            return Refused("targets are being rolled back already")
        case RollbackTargets() if not _to_roll_back(state, verb):
            return Refused(f"there is no target to roll back: {verb.which}")
        case Approve() | Reject():
            return gate.refusal(state, verb)
        case _:
            pass
    return None


def _skip_problem(state: CampaignState, verb: Skip) -> BondError | None:
    size = state.rules.size
    if not 0 <= verb.target < size:
        return NotFound(f"there is no target {verb.target}", hint=f"the campaign has {size}, from 0")
    code = state.code(verb.target)
    if code is Code.RUNNING:
        return Refused("the target has started", hint="cancel its operation to stop it")
    if code is not Code.WAITING:
        return Refused(f"the target is not waiting any more: {code.outcome or 'being rolled back'}")
    return None


def _to_roll_back(state: CampaignState, verb: RollbackTargets) -> bool:
    """Whether there is any target to take back, or one running that may come to be one."""
    counts = state.waves[state.wave].counts if verb.which == "wave" else state.counts
    return any(counts.get(code) for code in (*rolled_back(state, verb.which), Code.RUNNING))


# What is done --------------------------------------------------------------------------------------------


def _do(turn: Turn, verb: AnyVerb) -> None:  # noqa: C901 - a case for each verb
    state = turn.state
    match verb:
        case Pause():
            state.paused = Paused(cause="verb", by=verb.by, reason=verb.reason, at=turn.now)
        case Resume():
            state.paused = None
            _forgive(turn)
        case Abort():
            ending = Ending(
                status=state.ending.status if state.ending else CampaignStatus.ABORTED,
                cancel=verb.running == "cancel",
                by=verb.by,
                reason=verb.reason,
            )
            interruptions.abort(turn, ending)
        case Supersede():
            reason = f"superseded by {verb.campaign}"
            interruptions.abort(turn, Ending(status=CampaignStatus.SUPERSEDED, by=verb.by, reason=reason))
        case Skip():
            turn.settle(verb.target, Code.SKIPPED, reason=f"{verb.by}: {verb.reason}" if verb.reason else verb.by)
        case SetConcurrency():
            state.max_concurrent = verb.max_concurrent
        case NextWave():
            state.soak_until = turn.now
        case Retry():
            _retry(turn, verb)
        case RollbackTargets():
            interruptions.roll_back(turn, _order(turn, verb))
        case Approve() | Reject():
            _vote(turn, verb)


def _order(turn: Turn, verb: RollbackTargets) -> RollbackOrder:
    if verb.which == "wave":
        return interruptions.wave_order(turn, by=verb.by, reason=verb.reason)
    return RollbackOrder(
        codes=rolled_back(turn.state, verb.which),
        first=0,
        last=turn.state.rules.size,
        then="end" if verb.which == "all" else "pause",
        by=verb.by,
        reason=verb.reason,
    )


def _retry(turn: Turn, verb: Retry) -> None:
    """Targets wait again, and the campaign goes back to the first wave that has one."""
    state = turn.state
    changed = turn.put_all(RETRIED[verb.which], Code.WAITING)
    state.round += 1
    for number in changed:
        wave = state.waves[number]
        forgiven = min(wave.forgiven, sum(wave.counts.get(code, 0) for code in RETRIED["failed"]))
        turn.set_wave(number, ended_at=None, forgiven=forgiven)
    state.forgiven = min(state.forgiven, state.failures)
    state.consecutive = 0
    verdicts = (budget.broken(state, number) for number in range(len(state.waves)))
    state.broken = next((verdict for verdict in verdicts if verdict), "")
    if state.paused is not None and state.paused.cause != "verb" and not budget.limits(state):
        state.paused = None
    state.wave = min(state.wave, *changed)
    state.stage = Stage.GATE
    state.questions.pop("probe", None)
    state.soak_until = None
    target_starts.begin_walk(turn, state.starts[state.wave])


def _forgive(turn: Turn) -> None:
    """Accept the failures so far, when they had broken the budget."""
    state = turn.state
    if not state.broken:
        return
    state.broken = ""
    state.consecutive = 0
    state.forgiven = state.failures
    for number, wave in enumerate(state.waves):
        failed = sum(wave.counts.get(code, 0) for code in RETRIED["failed"])
        turn.set_wave(number, forgiven=failed)


def _vote(turn: Turn, verb: Approve | Reject) -> None:
    approval = turn.wave.gate
    if approval is None:
        return
    vote = Vote(by=verb.by, roles=verb.roles, approve=isinstance(verb, Approve), comment=verb.reason, at=turn.now)
    approval = voted(approval, vote, requested_by=turn.state.rules.requested_by)
    turn.set_wave(turn.state.wave, gate=approval)
    if approval.status == "rejected":
        reason = f"the gate of wave {verb.wave} was rejected: {verb.reason}"
        interruptions.abort(turn, Ending(status=CampaignStatus.ABORTED, by=verb.by, reason=reason))
