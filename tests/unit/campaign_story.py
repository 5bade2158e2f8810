"""A campaign told as a story of messages: what the tests of the decider share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bondstone.campaign.decider import decide, new_campaign, refusal, status
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import CampaignState, CampaignStatus, Rules, WaveRules
from bondstone.model.service import OperationStatus

C = TypeVar("C")


class Story:
    """A campaign with one group and team, whose pages are loaded at once."""

    def __init__(self, *waves: WaveRules, groups: str = "", **rules: Any) -> None:
        self.rules = Rules(campaign="cve", requested_by="ada", targets_digest="d" * 64, waves=waves, **rules)
        self.groups = groups or "a" * self.rules.size
        self.state: CampaignState = new_campaign(self.rules)
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.requests = 0
        self.commands_seen: list[Any] = []

    def send(self, *events: Any) -> list[Any]:
        """The commands of these events, pages loaded."""
        made: list[Any] = []
        for event in events:
            self.state, commands = decide(self.state, event, self.now)
            made += commands
            for command in commands:
                if isinstance(command, moves.LoadPage):
                    keys = tuple(moves.TargetKey(group=group, team=group) for group in self.groups)
                    made += self.send(moves.PageLoaded(page=command.page, targets=keys))
        self.commands_seen += made
        return made

    def begin(self) -> list[int]:
        return started(self.send(moves.Tick()))

    def wait(self, seconds: float = 0) -> list[Any]:
        if seconds:
            self.now += timedelta(seconds=seconds)
        else:
            assert self.state.wake_at is not None
            self.now = self.state.wake_at
        return self.send(moves.Tick())

    def finish(self, *targets: int, status: str = "succeeded", attempt: int | None = None) -> list[Any]:
        made = []
        for target in targets:
            flight = self.state.flights.get(target)
            number = attempt or (flight.attempt if flight else 1)
            made += self.send(moves.AttemptFinished(target=target, attempt=number, status=OperationStatus(status)))
        return made

    def say(self, verb: type[moves.CampaignVerb], **about: Any) -> list[Any]:
        text = self.verb(verb, **about)
        assert refusal(self.state, text) is None
        return self.send(text)

    def verb(self, verb: type[moves.CampaignVerb], **about: Any) -> Any:
        self.requests += 1
        return verb(**{"request_id": f"r{self.requests}", "by": "bob", "reason": "because", **about})

    @property
    def codes(self) -> str:
        return "".join(self.state.pages)

    @property
    def status(self) -> CampaignStatus:
        return status(self.state)


def of(kind: type[C], commands: list[Any]) -> list[C]:
    return [command for command in commands if isinstance(command, kind)]


def started(commands: list[Any]) -> list[int]:
    return [command.target for command in of(moves.Submit, commands)]


def wave(size: int, name: str = "w", **rules: Any) -> WaveRules:
    return WaveRules(name=name, size=size, **rules)


def withdrawn(target: int) -> list[Any]:
    """What a service says of a submission that it was told not to begin."""
    return [moves.AttemptFinished(target=target, attempt=1, status=OperationStatus.CANCELLED)]
