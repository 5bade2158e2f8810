"""What became of one kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.chaos.kills import Kill, Moment, Side, Victim


@dataclass(slots=True)
class Outcome:
    """One run, from the request to the last look; filled in while it runs."""

    kill: Kill
    hit: bool = False
    """Whether there was anything to kill."""
    ready: bool = False
    error: str = ""
    """Why not, in words."""
    made_twice: int = 0
    begun_twice: int = 0
    """Also counts what was interrupted while it was being made, and made again."""
    blocked: bool = False
    """A claim (or lock) was left that keeps the next one waiting."""
    by_hand: list[str] = field(default_factory=list)
    """What a person had to do."""
    lost: list[str] = field(default_factory=list)
    """What an acknowledged state held and the last one does not, and things that no state holds."""
    left: list[str] = field(default_factory=list)
    """Directories of attempts, and states put aside, that were left on the host."""
    seconds: float = 0
    """From the kill (from the end of the pause) until it was ready."""
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def sound(self) -> bool:
        """Whether nothing of what must hold was broken."""
        return self.ready and not (self.blocked or self.by_hand or self.lost)

    def as_json(self) -> dict[str, Any]:
        """As one line of the results."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Outcome:
        """What `as_json` gave."""
        rest = dict(line)
        kill = rest.pop("kill")
        kinds = {"side": Side(kill["side"]), "victim": Victim(kill["victim"]), "moment": Moment(kill["moment"])}
        return cls(kill=Kill(**{**kill, **kinds}), **rest)
