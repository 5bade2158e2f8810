"""What turns a campaign off its way: an abort, a rollback, and a broken budget that does one of these."""

from __future__ import annotations

from bondstone.campaign import running_targets, target_starts
from bondstone.campaign.transition import Turn
from bondstone.model.campaign.state import CampaignStatus, Code, Ending, Paused, RollbackOrder, Stage

_ROLL_BACK_WAVE = (Code.SUCCEEDED, Code.FAILED, Code.TIMED_OUT)


def react_to_broken_budget(turn: Turn) -> None:
    """Do what `on_failure` says, once for each time the budget breaks."""
    turn.just_broken = False
    state = turn.state
    if state.stage in {Stage.DRAINING, Stage.ROLLING_BACK, Stage.ABORTING}:
        return
    reason = state.broken
    match state.rules.on_failure:
        case "pause":
            if state.paused is None:
                state.paused = Paused(cause="budget", reason=reason, at=turn.now)
        case "abort":
            abort(turn, Ending(status=CampaignStatus.ABORTED, reason=reason))
        case "rollback_target":
            failed = (Code.FAILED, Code.TIMED_OUT)
            roll_back(
                turn,
                RollbackOrder(codes=failed, first=0, last=turn.wave_last, cause="budget", reason=reason),
            )
        case "rollback_wave":
            roll_back(turn, wave_order(turn, cause="budget", reason=reason))
        case "continue":
            pass


def wave_order(turn: Turn, **about: str) -> RollbackOrder:
    """Take the current wave back."""
    first = turn.state.starts[turn.state.wave]
    return RollbackOrder.model_validate(
        {"codes": _ROLL_BACK_WAVE, "first": first, "last": turn.wave_last, **about}
    )


def abort(turn: Turn, ending: Ending) -> None:
    """Start nothing more, ever; end when nothing runs."""
    state = turn.state
    state.stage = Stage.ABORTING
    state.ending = ending
    state.paused = None
    state.rollback = None
    _clear_the_way(turn)
    turn.put_all((Code.WAITING,), Code.NOT_ATTEMPTED)
    if ending.cancel:
        for target, flight in list(state.flights.items()):
            if flight.phase != "cancelling":
                running_targets.cancel(turn, target, flight, "aborted")


def roll_back(turn: Turn, order: RollbackOrder) -> None:
    """Let what runs finish, then take targets back."""
    state = turn.state
    state.stage = Stage.DRAINING
    state.rollback = order
    state.paused = None
    state.round += 1
    _clear_the_way(turn)


def end(turn: Turn, status: CampaignStatus) -> None:
    """The campaign is over."""
    state = turn.state
    turn.put_all((Code.WAITING,), Code.NOT_ATTEMPTED)
    state.stage = Stage.ENDED
    state.result = status
    state.ended_at = turn.now
    state.paused = None
    state.questions = {}
    state.lanes = {}
    turn.note("ended", reason=status)


def _clear_the_way(turn: Turn) -> None:
    target_starts.begin_walk(turn, turn.state.cursor)
    turn.state.questions.pop("probe", None)
    turn.state.soak_until = None
    for target in turn.state.again:
        running_targets.give_up(turn, target, turn.state.flights[target])
