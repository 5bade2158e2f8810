"""Whether a plan is covered by the approved one: `bondstone.model.plan_coverage` and its fingerprints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.activities.terraform.changes import planned_changes
from bondstone.base.redact import Redactor
from bondstone.client.documents.step import ChangeDocument
from bondstone.model.plan import Change, ChangeCounts
from bondstone.model.plan_coverage import carried_out, uncovered

SECRET = "correct horse battery"

scalars = st.one_of(st.booleans(), st.integers(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_leaves=6,
)
attributes = st.dictionaries(st.sampled_from(["name", "size", "tags", "rule"]), values, min_size=1, max_size=4)


def change(address: str, action: str, after: dict | None, unknown: dict | None = None, **sensitive: bool) -> dict:
    """One entry of `resource_changes`, as `terraform show -json` writes it."""
    actions = ["delete", "create"] if action == "replace" else [action]
    return {
        "address": address,
        "mode": "managed",
        "type": "thing",
        "change": {
            "actions": actions,
            "before": None if action == "create" else {},
            "after": None if action == "delete" else after,
            "after_unknown": unknown or {},
            "after_sensitive": sensitive,
        },
    }


def read(*changes: dict) -> list[Change]:
    return planned_changes({"resource_changes": changes}, Redactor([SECRET]))


entries = st.builds(
    lambda address, action, after, unknown: change(
        address, action, {key: value for key, value in after.items() if key != unknown}, {unknown: True}
    ),
    st.sampled_from([f"thing.{letter}" for letter in "abcdef"]),
    st.sampled_from(["create", "update", "replace", "delete"]),
    attributes,
    st.sampled_from(["id", "etag"]),
)
plans = st.lists(entries, max_size=5, unique_by=lambda entry: entry["address"])


@given(plans)
def test_a_plan_covers_itself(plan):
    assert uncovered(read(*plan), read(*plan)) == []


@given(plans, st.data())
def test_what_is_left_of_an_approved_plan_is_covered(plan, data):
    rest = data.draw(st.lists(st.sampled_from(plan), unique_by=lambda entry: entry["address"])) if plan else []
    assert uncovered(read(*plan), read(*rest)) == []


@given(plans, entries)
def test_what_was_not_in_the_approved_plan_is_not_covered(plan, more):
    approved = [entry for entry in plan if entry["address"] != more["address"]]
    (reason,) = uncovered(read(*approved), read(*approved, more))
    assert more["address"] in reason


@given(entries, st.sampled_from(["create", "update", "replace", "delete"]))
def test_another_action_is_covered_only_where_an_own_create_was_left_tainted(entry, action):
    other = change(entry["address"], action, entry["change"]["after"] or {"name": "x"}, {"id": True})
    approved, new = read(entry), read(other)
    if approved[0].action == new[0].action:
        return
    covered = not uncovered(approved, new)
    tainted = (approved[0].action, new[0].action) == ("create", "replace")
    assert covered == (tainted and entry["change"]["after_unknown"] == {"id": True})


@given(attributes, attributes)
def test_other_values_are_not_covered(before, after):
    approved = read(change("thing.a", "update", before))
    new = read(change("thing.a", "update", after))
    assert bool(uncovered(approved, new)) == (
        json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)
    )


@pytest.mark.parametrize("nested", [False, True])
def test_a_secret_that_changed_is_not_covered_although_it_looks_the_same(nested):
    def planned(secret: str) -> list[Change]:
        after = {"config": {"password": secret}} if nested else {"password": secret}
        marks = {"config": {"password": True}} if nested else {"password": True}
        return read(change("thing.a", "create", after, {"id": True}, **marks))

    approved, new = planned(SECRET), planned("another one")
    assert approved[0].after == new[0].after
    assert uncovered(approved, planned(SECRET)) == []
    assert uncovered(approved, new) == ["thing.a: other values than were approved"]


def test_a_secret_that_changed_is_seen_also_when_something_else_became_known():
    def planned(secret: str, unknown: dict, **more: str) -> list[Change]:
        return read(change("thing.a", "create", {"password": secret, **more}, unknown, password=True))

    approved = planned(SECRET, {"id": True, "parent": True})
    assert uncovered(approved, planned(SECRET, {"id": True}, parent="p-1")) == []
    assert uncovered(approved, planned("another one", {"id": True}, parent="p-1"))


def test_what_was_known_and_is_unknown_now_may_become_anything():
    approved = read(change("thing.a", "update", {"name": "x", "rule": [{"port": 1, "host": "h"}]}))
    new = read(change("thing.a", "update", {"name": "x", "rule": [{"port": 1}]}, {"rule": [{"host": True}]}))
    assert uncovered(approved, new)
    assert uncovered(new, approved) == []
    moved = read(change("thing.a", "update", {"name": "x", "rule": [{"port": 2, "host": "h"}]}))
    assert uncovered(new, moved), "the port was known"


def test_a_tool_without_fingerprints_is_compared_by_what_it_shows():
    def shown(**after: str) -> list[Change]:
        return [Change(address="apps/web", action="update", after=after, unknown=("status",))]

    assert uncovered(shown(image="a"), shown(image="a", status="ready")) == []
    assert uncovered(shown(image="a"), shown(image="b"))


def test_no_document_shows_a_fingerprint():
    (planned,) = read(change("thing.a", "create", {"password": SECRET}, password=True))
    assert planned.fingerprints
    text = ChangeDocument(**planned.model_dump()).model_dump_json()
    assert "fingerprint" not in text
    assert planned.fingerprints["password"] not in text


def test_what_is_not_planned_any_more_is_done():
    def changes(*pairs):
        return [Change(address=address, action=action) for address, action in pairs]

    approved = changes(("a", "create"), ("b", "create"), ("c", "create"), ("d", "delete"), ("e", "update"))
    left = changes(("b", "replace"), ("c", "create"), ("e", "update"))
    assert carried_out(approved, left) == ChangeCounts(create=2, delete=1), "b was made, and is made anew"
    assert carried_out(approved, []).total == 5
