"""Parts and parents: any history of requests, decided by the product's functions, keeps the invariants.

The fleet is simulated: a service is its `ServiceState`, an operation ends well or not as Hypothesis says. A parent
asks its parts by `plan_for` and `plan_to_let_go`; a service refuses by `check_bind` and `check_may_go`. Queues,
clocks and the ripple of changed outputs are left out; the tests on a real platform have those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bondstone.activities.service.desired import PartPlan, plan_for, plan_to_let_go
from bondstone.activities.service.section import ServiceSection
from bondstone.base.errors import BondError
from bondstone.model.service import (
    BindCall,
    Dependant,
    OperationKind,
    Phase,
    Request,
    Resolved,
    RevisionRef,
    ServiceId,
    ServiceState,
)
from bondstone.workflows.dependants import check_bind, check_may_go, with_dependant, without_dependant

VERSIONS = ("1.0.0", "1.0.1", "1.1.0", "2.0.0")
TREE = {
    "top": (("left", "middle", False), ("right", "middle", False), ("common", "leaf", True)),
    "middle": (("own", "leaf", False), ("common", "leaf", True)),
    "leaf": (),
}
"""Promise to its parts: what the parent calls each, its promise, and whether it is shared: a diamond."""
SHARED = "team/common"
MAX_ROUNDS = 50


def service_id(name: str) -> ServiceId:
    team, _, rest = name.partition("/")
    return ServiceId(team=team, name=rest)


class Fleet:
    """Services by name, and what happens when one is asked for something."""

    def __init__(self) -> None:
        self.states: dict[str, ServiceState] = {}
        self.made: list[str] = []
        """Every name that came to be, each time it did."""
        self.by_hand: set[str] = set()
        """Services that have the name of a part, and that no parent made."""
        self.steps = 0

    def provision(
        self, name: str, promise: str, version: str, parent: Dependant | None, fails: Iterator[bool]
    ) -> bool:
        """Request a service: its parts first, then itself. Whether it is ready."""
        before = self.states.get(name)
        revision = RevisionRef(promise=promise, version=version, digest="0" * 64)
        assert before is None or not before.healthy, f"{name} was made twice"
        state = before or ServiceState(service=service_id(name))
        if before is None:
            self.made.append(name)
        state = state.changed(
            resolved=Resolved(revision=revision),
            dependants=with_dependant(state.dependants, parent),
            resting=Phase.FAILED,
            phase=Phase.FAILED,
        )
        self.states[name] = state
        applied = [
            self.apply(name, section, fails) for section in sections(name, promise)
        ]  # one fails, others go on
        ready = all(applied) and not next(fails)
        if ready:
            state = self.states[name]
            healthy = (*state.healthy, Resolved(revision=revision))[-3:]
            self.states[name] = state.changed(resting=Phase.READY, phase=Phase.READY, healthy=healthy)
        return ready

    def apply(self, name: str, section: ServiceSection, fails: Iterator[bool]) -> bool:
        """A parent's step of a part, planned and applied; whether it succeeded."""
        self.steps += 1
        parent = dependant(name, section)
        try:
            plan = plan_for(section, parent, self.states.get(section.service), newest="1.1.0", inputs={})
            if plan.verb in {"adopt", "bind"} and plan.parent is not None:
                call = BindCall(parent=plan.parent, expected_state=plan.state)
                check_bind(self.states[section.service], call)
        except BondError:
            return False
        return self.carry_out(plan, parent, fails)

    def carry_out(self, plan: PartPlan, parent: Dependant, fails: Iterator[bool]) -> bool:
        if plan.verb in {"adopt", "bind"}:
            part = self.states[plan.part]
            self.states[plan.part] = part.changed(dependants=with_dependant(part.dependants, plan.parent))
        elif plan.verb in {"provision", "retry", "move"}:
            state = self.states.get(plan.part)
            version = plan.version or (state.resolved.revision.version if state and state.resolved else "1.0.0")
            return self.provision(plan.part, plan.promise, version, parent, fails)
        return True

    def decommission(self, name: str, asker: Dependant | None, fails: Iterator[bool]) -> bool:
        """Take a service down: itself first, then what was made for it. Whether it is gone."""
        self.steps += 1
        state = self.states[name]
        request = Request(request_id="r", kind=OperationKind.DECOMMISSION, parent=asker)
        try:
            check_may_go(state, request)
        except BondError:
            return False
        if next(fails) or state.resolved is None:
            self.states[name] = self.states[name].changed(resting=Phase.FAILED, phase=Phase.FAILED)
            return False
        self.states[name] = self.states[name].changed(resting=Phase.DECOMMISSIONING, phase=Phase.DECOMMISSIONING)
        for section in sections(name, state.resolved.revision.promise):
            parent = dependant(name, section)
            try:
                plan = plan_to_let_go(section, parent, self.states.get(section.service))
            except BondError:
                self.states[name] = self.states[name].changed(resting=Phase.FAILED, phase=Phase.FAILED)
                return False
            if plan.verb == "release":
                part = self.states[plan.part]
                self.states[plan.part] = part.changed(dependants=without_dependant(part.dependants, parent))
            elif plan.verb == "decommission" and not self.decommission(plan.part, parent, fails):
                self.states[name] = self.states[name].changed(resting=Phase.FAILED, phase=Phase.FAILED)
                return False
        del self.states[name]
        assert asker is None or name not in self.by_hand, f"{name} went with its parent, which did not make it"
        self.by_hand.discard(name)
        return True


def sections(name: str, promise: str) -> list[ServiceSection]:
    team = name.partition("/")[0]
    return [
        ServiceSection(
            promise=part,
            version=">=1.0 <2",
            service=SHARED if shared else f"{name}-{alias}" if "/" in name else f"{team}/{alias}",
            bind=shared,
        )
        for alias, part, shared in TREE[promise]
    ]


def dependant(name: str, section: ServiceSection) -> Dependant:
    alias = section.service.rpartition("-")[2] if not section.bind else "common"
    return Dependant(service=service_id(name), alias=alias, versions=section.version, owns=not section.bind)


class Parts(RuleBasedStateMachine):
    """Anything that people do to a small fleet of compound services, in any order, with any failures."""

    tops = st.sampled_from(["team/one", "team/two"])
    failures = st.one_of(st.just([]), st.lists(st.sampled_from([False, False, False, True]), max_size=8))

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()

    @staticmethod
    def ends(failures: list[bool]) -> Iterator[bool]:
        yield from failures
        while True:
            yield False

    @rule(failures=failures)
    def request_what_is_shared(self, failures: list[bool]) -> None:
        if SHARED not in self.fleet.states:
            self.fleet.provision(SHARED, "leaf", "1.0.0", None, self.ends(failures))

    @rule(name=tops, failures=failures)
    def request_or_retry(self, name: str, failures: list[bool]) -> None:
        state = self.fleet.states.get(name)
        if state is None or (state.resting is Phase.FAILED and not state.healthy):
            self.fleet.provision(name, "top", "1.0.0", None, self.ends(failures))

    @rule(name=tops, hands_over=st.booleans(), failures=failures)
    def make_by_hand_what_is_named_like_a_part(self, name: str, hands_over: bool, failures: list[bool]) -> None:  # noqa: FBT001
        part = f"{name}-left"
        if part in self.fleet.states:
            return
        self.fleet.by_hand.add(part)
        self.fleet.provision(part, "middle", "1.0.0", None, self.ends(failures))
        if hands_over:
            self.fleet.states[part] = self.fleet.states[part].changed(labels={"give-to": name})

    @rule(name=tops, hands_over=st.sampled_from([None, False, True]))
    def make_whole(self, name: str, hands_over: bool | None) -> None:  # noqa: FBT001
        self.request_what_is_shared([])
        if hands_over is not None:
            self.make_by_hand_what_is_named_like_a_part(name, hands_over, [])
        self.request_or_retry(name, [])

    @rule(name=tops)
    def take_down_whole(self, name: str) -> None:
        if name in self.fleet.states:
            self.fleet.decommission(name, None, self.ends([]))

    @precondition(lambda self: self.fleet.states)
    @rule(data=st.data(), failures=failures)
    def decommission(self, data: Any, failures: list[bool]) -> None:
        name = data.draw(st.sampled_from(sorted(self.fleet.states)))
        before = set(self.fleet.states)
        dependants = self.fleet.states[name].dependants
        gone = self.fleet.decommission(name, None, self.ends(failures))
        assert not (gone and dependants), "it was taken down while something depended on it"
        if dependants:
            assert set(self.fleet.states) == before

    @precondition(lambda self: SHARED in self.fleet.states)
    @rule(version=st.sampled_from(VERSIONS))
    def move_what_is_shared(self, version: str) -> None:
        from bondstone.promise.versions import in_range  # noqa: PLC0415 - as `promise.resolve` does

        state = self.fleet.states[SHARED]
        if all(in_range(version, each.versions) for each in state.dependants):
            revision = RevisionRef(promise="leaf", version=version, digest="0" * 64)
            self.fleet.states[SHARED] = state.changed(resolved=Resolved(revision=revision))

    @invariant()
    def no_part_without_a_living_parent(self) -> None:
        for name, state in self.fleet.states.items():
            for each in state.dependants:
                assert str(each.service) in self.fleet.states, f"{name} is left behind by {each.service}"
            if "-" in name and name not in self.fleet.by_hand:
                assert [each for each in state.dependants if each.owns], f"nobody owns {name}"

    @invariant()
    def nothing_is_owned_that_nobody_made_or_gave(self) -> None:
        for name in self.fleet.by_hand:
            state = self.fleet.states[name]
            assert state.labels or not any(each.owns for each in state.dependants), f"{name} was not given"

    @invariant()
    def no_parent_is_ready_with_a_part_that_is_not(self) -> None:
        for name, state in self.fleet.states.items():
            if state.resting is not Phase.READY or state.resolved is None:
                continue
            for section in sections(name, state.resolved.revision.promise):
                part = self.fleet.states.get(section.service)
                assert part is not None, f"{name} is ready without {section.service}"
                if not section.bind:
                    owners = [str(each.service) for each in part.dependants if each.owns]
                    assert owners == [name], f"{name} is ready, and {section.service} is owned by {owners}"
                    assert part.resting is Phase.READY, f"{name} is ready and {section.service} is {part.resting}"

    @invariant()
    def every_chain_ends_and_nothing_is_made_twice(self) -> None:
        assert self.fleet.steps < MAX_ROUNDS * max(1, len(self.fleet.made))
        alive = [name for name in self.fleet.made if name in self.fleet.states]
        assert len(self.fleet.states) == len(set(alive))


Parts.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestParts = Parts.TestCase
