"""Reading a campaign or a strategy: every mistake at once, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from bondstone.base.errors import CampaignInvalid, InvalidInput, Problem
from bondstone.campaign.checks import check_spec
from bondstone.documents.error_recovery import salvage
from bondstone.documents.yaml_places import Path_, PlacedDocument, model_problems, ordered, read, refuse
from bondstone.model.campaign.manifest import Campaign, CampaignMetadata, CampaignSpec, Strategy, StrategySpec
from bondstone.model.promise import API_VERSION

_PLACEHOLDERS: Final[Mapping[str, Any]] = {
    "name": "unnamed",
    "waves": [{"name": "unnamed", "rest": True}],
    "cron": "0 0 * * *",
    "duration": "1h",
    "time_zone": "UTC",
    "label": "unnamed",
    "approval": {"roles": ["unnamed"]},
    "roles": ["unnamed"],
}
"""What stands in for something that is missing or wrong, while the rest is checked."""

Kind = TypeVar("Kind", Campaign, Strategy)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A mistake that shows only beside the fleet or the catalogue, at a path of the document."""

    path: Path_
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ReadDocument(Generic[Kind]):
    """What a file holds, or what is wrong with it."""

    document: PlacedDocument
    manifest: Kind | None
    """None when there are problems."""
    problems: tuple[Problem, ...] = ()

    def require(self) -> Kind:
        """The manifest, or `CampaignInvalid` with every problem."""
        if self.manifest is None:
            raise refuse(self.problems, self.document.file, CampaignInvalid)
        return self.manifest

    def refuse(self, flaws: Iterable[Flaw]) -> InvalidInput:
        """The error for flaws that were found later, each at its line and column."""
        problems = [self.document.problem(flaw.path, flaw.message, hint=flaw.hint) for flaw in flaws]
        return refuse(problems, self.document.file, CampaignInvalid)


def read_campaign(data: bytes, file: str, *, now: datetime, kept: bool = False) -> ReadDocument[Campaign]:
    """Read a campaign from YAML or JSON.

    Args:
        data: What the file holds.
        file: Its name, for messages.
        now: From when on its windows must open.
        kept: It was accepted before, perhaps by an older version, and is bound by no later rule.
    """
    return _read(data, file, Campaign, now, kept=kept)


def read_strategy(data: bytes, file: str, *, now: datetime, kept: bool = False) -> ReadDocument[Strategy]:
    """Read a strategy from YAML or JSON; arguments as for `read_campaign`."""
    return _read(data, file, Strategy, now, kept=kept)


def inline_strategy(
    outer: PlacedDocument, at: Path_, metadata: Mapping[str, Any], *, now: datetime
) -> ReadDocument[Strategy]:
    """Read a strategy whose `spec` stands inside another document, as in a schedule's manifest.

    Args:
        outer: The other document.
        at: Where the spec stands in it; its mistakes are named there.
        metadata: The strategy's metadata.
        now: From when on its windows must open.
    """
    spec: Any = outer.data
    for part in at:
        spec = spec[part]
    inner = PlacedDocument(outer.file, {"apiVersion": API_VERSION, "kind": "Strategy", "metadata": dict(metadata)})
    inner.data["spec"] = spec
    for places, source in ((inner.keys, outer.keys), (inner.values, outer.values)):
        places.update(
            {("spec", *path[len(at) :]): place for path, place in source.items() if path[: len(at)] == at}
        )
    inner.values[()] = outer.place(at)
    return _check(inner, Strategy, now)


def campaign_of(strategy: Strategy, *, name: str, reason: str = "", change: str = "") -> Campaign:
    """The campaign that a strategy leads to, as a schedule starts it.

    Args:
        strategy: Must say what is done, not only how.
        name: Of the campaign, one for each run.
        reason: Why; the strategy's own when it is empty.
        change: The number of the change; the strategy's own when it is empty.

    Raises:
        CampaignInvalid: the strategy has no operation, or nobody says why.
    """
    where = f"strategy {strategy.metadata.name}"
    if strategy.spec.operation is None:
        raise CampaignInvalid(
            "the strategy does not say what to do",
            where=where,
            hint="add operation, promise and select to its spec",
        )
    if not (reason := reason or strategy.metadata.reason).strip():
        raise CampaignInvalid("the reason is missing", where=where, hint="add metadata.reason")
    metadata = CampaignMetadata(
        name=name, owner=strategy.metadata.owner, reason=reason, change=change or strategy.metadata.change
    )
    spec = CampaignSpec.model_validate(strategy.spec.model_dump(by_alias=True, exclude_unset=True))
    return Campaign(api_version=API_VERSION, kind="Campaign", metadata=metadata, spec=spec)


def _read(data: bytes, file: str, model: type[Kind], now: datetime, *, kept: bool) -> ReadDocument[Kind]:
    document = read(data, file)
    if document.problems:
        return ReadDocument(document, None, ordered(document.problems))
    return _check(document, model, now, kept=kept)


def _check(
    document: PlacedDocument, model: type[Kind], now: datetime, *, kept: bool = False
) -> ReadDocument[Kind]:
    if not isinstance(document.data, dict):
        words = f"a {model.__name__.lower()} is a mapping with apiVersion, kind, metadata and spec"
        return ReadDocument(document, None, (document.problem((), words),))
    manifest, problems = None, []
    try:
        manifest = model.model_validate(document.data)
    except ValidationError as error:
        problems = model_problems(document, error, model)
    spec = document.data.get("spec")
    rest = (
        manifest.spec
        if manifest
        else salvage(spec, StrategySpec, _PLACEHOLDERS)
        if isinstance(spec, dict)
        else None
    )
    if rest is not None:
        problems += check_spec(document, rest, now, kept=kept)
    return ReadDocument(document, None if problems else manifest, ordered(problems))
