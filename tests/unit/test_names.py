"""The names that Bondstone and the outside agree on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base import names
from bondstone.base.errors import InvalidInput
from bondstone.model.service import OperationKind
from bondstone.workflows import served

NAME = st.from_regex(names.NAME_PATTERN.replace("^", r"\A").replace("$", r"\Z"))


@given(team=NAME, name=NAME, number=st.integers(1, 10**9))
def test_what_is_put_together_can_be_taken_apart(team, name, number):
    assert names.parse_service(f"{team}/{name}") == (team, name)
    operation = names.operation_workflow_id(team, name, number).removeprefix("service/")
    assert names.parse_operation(operation) == (team, name, number)


@given(one=st.tuples(NAME, NAME), other=st.tuples(NAME, NAME), number=st.integers(1, 99))
def test_no_two_services_or_operations_share_a_workflow_id(one, other, number):
    ids = {names.service_workflow_id(*one), names.service_workflow_id(*other)}
    assert (len(ids) == 1) == (one == other)
    assert names.operation_workflow_id(*one, number) not in ids


@given(team=NAME, name=NAME)
def test_a_workflow_id_fits_what_visibility_takes(team, name):
    assert len(names.operation_workflow_id(team, name, 2**31)) <= 255


@given(text=st.text(max_size=60))
def test_any_text_is_a_name_or_refused_in_words(text):
    refusal = None
    try:
        names.check_name("team", text)
    except InvalidInput as error:
        refusal = error
    if refusal is None:
        assert text.isascii()
        assert text == text.lower().strip("-")
    else:
        assert "cannot name a team" in refusal.message
        assert refusal.hint


@pytest.mark.parametrize(
    "text", ["", "a", "a/b/c", "A/b", "a/b-", "../x", "a/", "/b", "a/b\n", "a/" + "b" * 49, "ä/b"]
)
def test_what_is_not_a_service_is_refused(text):
    with pytest.raises(InvalidInput):
        names.parse_service(text)


@pytest.mark.parametrize("text", ["a/b", "a/b/op", "a/b/op/0", "a/b/op/x", "a/b/ops/1", "a/b/op/1/2", "a/b/op/²"])
def test_what_is_not_an_operation_is_refused(text):
    with pytest.raises(InvalidInput):
        names.parse_operation(text)


def test_search_attributes_stay_within_the_budget_of_sql_visibility():
    kinds = list(names.SEARCH_ATTRIBUTES.values())
    assert kinds.count("Keyword") <= 10
    assert all(kinds.count(kind) <= 3 for kind in set(kinds) - {"Keyword"})


def test_every_operation_kind_has_its_workflow_and_every_workflow_is_served():
    assert set(names.OPERATION_WORKFLOWS) == set(OperationKind)
    are_served = {vars(workflow)["__temporal_workflow_definition"].name for workflow in served.ALL}
    campaigns = {names.CAMPAIGN_WORKFLOW, names.SCHEDULED_CAMPAIGN_WORKFLOW}
    assert (
        are_served
        == {names.SERVICE_WORKFLOW, names.NOTIFICATION_WORKFLOW, *names.OPERATION_WORKFLOWS.values()} | campaigns
    )
