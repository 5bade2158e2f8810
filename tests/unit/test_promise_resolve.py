"""From a request and its revision to the steps that an operation runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promise_samples import promise

from bondstone.base.errors import BondError, InputsInvalid, InvalidInput
from bondstone.model.promise import Promise, Step
from bondstone.model.service import Request, ResolveCall, Resolved, RevisionRef, ServiceId
from bondstone.promise.resolve import in_order, resolve

SERVICE = ServiceId(team="payments", name="orders")
REF = RevisionRef(promise="postgres", version="1.4.0", digest="0" * 64)


def _provision(manifest: Promise, inputs: dict[str, Any], **request: Any) -> Resolved:
    call = ResolveCall(service=SERVICE, request=Request(request_id="r", inputs=inputs, **request))
    return resolve(manifest, REF, call, lambda ref: {"k": "hunter2-canary"}[ref.key])


def test_a_provision_is_resolved_with_defaults_conditions_and_pools() -> None:
    result = _provision(promise(), {})
    assert result.inputs == {"size": "small", "region": "eu"}
    assert [(step.id, step.executor, step.needs, step.pool, step.skip) for step in result.steps] == [
        ("database", "terraform", (), "default", False),
        ("dashboard", "helm", ("database",), "eu", True),
    ]
    assert [step.timeout_seconds for step in result.steps] == [1800, 3600]
    assert result.health_seconds == 120
    assert not _provision(promise(), {"size": "large"}).steps[1].skip


def test_how_long_probes_may_take_is_known_from_the_start() -> None:
    patch_probes = "  patch: {health: [{tcp: 'a:1', within: 1m}, {tcp: 'a:2', within: 30s}]}\n  health:\n"
    result = _provision(promise(("  health:\n", patch_probes)), {})
    assert result.health_seconds == 120
    assert (result.day_two.patch_health_seconds, result.day_two.upgrade_health_seconds) == (90, 0)


def test_secrets_stay_references() -> None:
    result = _provision(promise(), {"adminPassword": {"$secret": "k"}})
    assert result.inputs["adminPassword"] == {"$secret": "k"}
    assert "hunter2" not in result.model_dump_json()


def test_a_plain_secret_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputsInvalid) as caught:
        _provision(promise(), {"adminPassword": "hunter2-canary", "size": 7})
    assert "hunter2" not in str(caught.value.info())


def test_labels_do_not_change_the_steps() -> None:
    assert _provision(promise(), {}, labels={"a": "b"}) == _provision(promise(), {})


@pytest.mark.parametrize("when", ["inputs.size", "'true'", "1"])
def test_a_condition_gives_true_or_false(when: str) -> None:
    manifest = promise(("inputs.size != 'small'", f'"{when}"'))
    with pytest.raises(InvalidInput, match="not true or false") as caught:
        _provision(manifest, {})
    assert caught.value.where == "step dashboard: when"


@pytest.mark.parametrize("when", ["true", "\"${inputs.size == 'small'}\"", "inputs.size == 'small'", '"true"'])
def test_a_condition_may_be_written_bare_or_as_one_expression(when: str) -> None:
    assert not _provision(promise(("inputs.size != 'small'", when)), {}).steps[1].skip


@pytest.mark.parametrize("region", ["Prod EU", "../x", "", "a" * 60])
def test_a_pool_that_no_worker_can_serve_is_refused(region: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a pool") as caught:
        _provision(promise(), {"region": region})
    assert caught.value.where == "step dashboard"


def test_an_expression_that_fails_names_its_step() -> None:
    with pytest.raises(BondError) as caught:
        _provision(promise(("inputs.size != 'small'", "1 / 0 == 1")), {})
    assert (caught.value.code, caught.value.where) == (
        "EXPRESSION_INVALID",
        "step dashboard: ${1 / 0 == 1}",
    )


@given(st.integers(1, 9), st.data())
@settings(max_examples=80, deadline=None)
def test_every_step_comes_after_those_it_needs(count: int, data: st.DataObject) -> None:
    needs = {
        number: data.draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        for number in range(count)
    }
    steps = [
        Step(id=f"s{number}", needs=tuple(f"s{need}" for need in needs[number]), executor="x", section={})
        for number in data.draw(st.permutations(range(count)))
    ]
    ordered = in_order(steps)
    assert sorted(step.id for step in ordered) == sorted(step.id for step in steps)
    recorded: set[str] = set()
    for step in ordered:
        assert recorded.issuperset(step.needs)
        recorded.add(step.id)
    assert in_order(ordered) == ordered
