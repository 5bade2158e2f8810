"""What has to be done to a part, from how it stands and how its parent wants it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from bondstone.activities.service.section import ServiceSection
from bondstone.base.errors import NotFound, Refused
from bondstone.base.models import Wire
from bondstone.model.service import Dependant, OperationKind, Phase, ServiceState, state_digest
from bondstone.promise.versions import in_range
from bondstone.workflows.dependants import check_given

Verb = Literal[
    "nothing", "provision", "retry", "update", "move", "adopt", "bind", "refresh", "decommission", "release"
]


class PartPlan(Wire):
    """The plan of a part: the artefact that is approved and applied."""

    verb: Verb
    part: str
    """`TEAM/NAME`."""
    promise: str
    version: str = ""
    """The version that it is made at, or moves to."""
    kind: OperationKind | None = None
    """Which operation moves it."""
    inputs: dict[str, Any] = {}
    """Inputs to set; null takes one back to its default. The artefact is sealed, so secrets are in plain."""
    parent: Dependant | None = None
    hidden: tuple[str, ...] = ()
    """Inputs that hold secrets, by their first name: change sets do not show them."""
    stands: str = Field(default="")
    """The revision it stood on when the plan was made; applying a plan for another one is refused as stale."""
    state: str = ""
    """Of a part that is taken over: its whole state then, see `state_digest`."""


def plan_for(
    section: ServiceSection,
    parent: Dependant,
    state: ServiceState | None,
    *,
    newest: str,
    inputs: Mapping[str, Any],
) -> PartPlan:
    """What makes the part as its parent wants it.

    Args:
        section: What the parent's promise says of it.
        parent: The parent, as the part shall know it.
        state: How the part stands; None when it does not exist.
        newest: The newest version that the parent accepts; empty when there is none.
        inputs: The inputs that differ from the part's, each with the value that it shall have.

    Raises:
        AlreadyExists: another service of that name exists, and nobody gave it to this parent.
        NotFound: nothing to bind to, or no version to make.
        Refused: what it is bound to, or was given, is of another promise, outside the versions, or another's; or
            what it was given has other inputs.
    """
    base = PartPlan(verb="nothing", part=section.service, promise=section.promise, parent=parent)
    if state is None or state.current is None or state.phase in {Phase.DECOMMISSIONED, Phase.ABANDONED}:
        if section.bind:
            raise NotFound(
                f"there is no service {section.service} to bind to",
                where=f"requires.{parent.alias}",
                hint=f"request it first: bond service request {section.promise} {section.service}",
            )
        if not newest:
            raise NotFound(
                f"no version of {section.promise} is in {section.version}",
                where=f"requires.{parent.alias}",
                hint=f"publish one: `bond promise list --all` shows those of {section.promise}",
            )
        return base.changed(verb="provision", version=newest, inputs=dict(inputs), kind=OperationKind.PROVISION)
    stands = state.resolved.revision if state.resolved else state.current.revision
    base = base.changed(stands=str(stands))
    if stands.promise != section.promise:
        raise Refused(
            f"{section.service} is a {stands.promise}, not a {section.promise}", where=f"requires.{parent.alias}"
        )
    known = next((each for each in state.dependants if each.service == parent.service), None)
    if section.bind:
        return _bound(section, base, parent, known, stands.version)
    if known is None or not known.owns:
        return _adopted(section, base, parent, state, inputs)
    base = base.changed(parent=parent.changed(adopted=known.adopted))
    owned = _owned(section, base, state, newest=newest, inputs=inputs, at=stands.version)
    if owned.verb == "nothing" and known.versions != parent.versions:
        return owned.changed(verb="bind")  # it only hears which versions its parent accepts now
    return owned


def plan_to_let_go(section: ServiceSection, parent: Dependant, state: ServiceState | None) -> PartPlan:
    """What ends the part's being one: taken down when it was made for the parent, else only released.

    A part that was given to the parent is released too, unless the parent's promise says `adopted: decommission`.

    Raises:
        Refused: others depend on a part that would be taken down.
    """
    base = PartPlan(verb="nothing", part=section.service, promise=section.promise, parent=parent)
    if state is None or state.current is None or state.phase in {Phase.DECOMMISSIONED, Phase.ABANDONED}:
        return base
    known = next((each for each in state.dependants if each.service == parent.service), None)
    if known is None:
        return base
    base = base.changed(parent=parent.changed(adopted=known.adopted))
    if not known.owns or (known.adopted and section.adopted == "release"):
        return base.changed(verb="release", stands=str(state.current.revision))
    others = [str(each.service) for each in state.dependants if each.service != parent.service]
    if others:
        raise Refused(
            f"{section.service} is a part of {', '.join(others)} too, so it is not taken down",
            where=f"requires.{parent.alias}",
            hint="decommission those first, or let them use another service",
        )
    return base.changed(verb="decommission", kind=OperationKind.DECOMMISSION, stands=str(state.current.revision))


def _bound(
    section: ServiceSection, base: PartPlan, parent: Dependant, known: Dependant | None, at: str
) -> PartPlan:
    if not in_range(at, section.version):
        raise Refused(
            f"{section.service} is at {at}, and {parent.service} accepts {section.version}",
            where=f"requires.{parent.alias}",
            hint=f"upgrade it first: bond service upgrade {section.service}",
        )
    return base if known is not None and known.versions == parent.versions else base.changed(verb="bind")


def _adopted(
    section: ServiceSection, base: PartPlan, parent: Dependant, state: ServiceState, inputs: Mapping[str, Any]
) -> PartPlan:
    """Take over a service that exists, as it stands: nothing of it changes."""
    check_given(state, parent)
    where, at = f"requires.{parent.alias}", state.resolved.revision.version if state.resolved else ""
    if not state.healthy or state.resting is not Phase.READY:
        raise Refused(
            f"{section.service} is {state.phase}, so it is not taken over",
            where=where,
            hint=f"repair it first: bond service show {section.service}",
        )
    if not in_range(at, section.version):
        raise Refused(
            f"{section.service} is at {at}, and {parent.service} accepts {section.version}",
            where=where,
            hint=f"upgrade it first: bond service upgrade {section.service}",
        )
    if inputs:
        raise Refused(
            f"{section.service} has other inputs than {parent.service} wants: {', '.join(sorted(inputs))}",
            where=where,
            hint=f"make them the same first: bond service update {section.service}, or other inputs of the parent",
        )
    taken = parent.changed(adopted=True)
    return base.changed(verb="adopt", parent=taken, state=state_digest(state))


def _owned(
    section: ServiceSection,
    base: PartPlan,
    state: ServiceState,
    *,
    newest: str,
    inputs: Mapping[str, Any],
    at: str,
) -> PartPlan:
    if not state.healthy and state.retryable is not None and not inputs:
        return base.changed(verb="retry", kind=OperationKind.PROVISION)
    if not state.healthy:
        return base.changed(
            verb="provision", version=newest or at, inputs=dict(inputs), kind=OperationKind.PROVISION
        )
    if not in_range(at, section.version):
        if not newest:
            raise NotFound(f"no version of {section.promise} is in {section.version}", where=section.service)
        within = at.split(".")[:2] == newest.split(".")[:2]
        kind = OperationKind.PATCH if within else OperationKind.UPGRADE
        return base.changed(verb="move", version=newest, kind=kind, inputs=dict(inputs))
    if inputs:
        return base.changed(verb="update", kind=OperationKind.UPDATE, inputs=dict(inputs))
    if state.resting in {Phase.FAILED, Phase.DEGRADED} and state.retryable is not None:
        return base.changed(verb="retry", kind=state.retryable.record.kind)
    return base
