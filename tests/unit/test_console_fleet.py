"""The list of services: its address is its state, and becomes the expression of a campaign over it."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from bondstone.api.index.services import Entry
from bondstone.base.models import changed_copy
from bondstone.client.row_filter import values_filter
from bondstone.console.fleet import MAX_LABELS, Listing, label_choices, listing, position_after
from harness.light_api import a_service


def entry(name: str, phase: str = "ready", drift: int = 0, **labels: str) -> Entry:
    listed = a_service(name, phase=phase)
    return Entry(changed_copy(listed, {"row": replace(listed.row, labels=labels, drift=drift)}))


FLEET = [
    entry("shop/cart", tier="prod", region="eu"),
    entry("shop/pay", drift=2, tier="prod", region="us"),
    entry("maps/tiles", phase="failed", tier="dev"),
    entry("maps/say-hello", note='it\'s "quoted"'),
]
LISTINGS = [
    Listing(),
    Listing(q="a"),
    Listing(team="shop"),
    Listing(phase="failed"),
    Listing(health="healthy", team="maps"),
    Listing(drift="found"),
    Listing(drift="found", team="shop"),
    Listing(labels=("tier=prod",)),
    Listing(labels=("tier=prod", "region=eu")),
    Listing(labels=('note=it\'s "quoted"',)),
    Listing(q="cart", team="shop", labels=("tier=prod",), where="labels.region == 'eu'", sort="-changed_at"),
    Listing(labels=("tier=none",)),
]


@pytest.mark.parametrize("wanted", LISTINGS)
def test_a_campaign_over_a_list_selects_what_the_list_shows(wanted):
    where = values_filter(wanted.where)
    shown = [each.row.id for each in FLEET if wanted.matches(each) and (not wanted.where or where(each.values))]
    expression = values_filter(wanted.expression())
    assert [each.row.id for each in FLEET if expression(each.values)] == shown


@pytest.mark.parametrize("wanted", LISTINGS)
def test_an_address_says_the_whole_list(wanted):
    query: dict[str, object] = {"label": []}
    for name, value in parse_qsl(wanted.address()):
        if name == "label":
            query["label"].append(value)
        else:
            query[name] = value
    assert listing(**query) == wanted


def test_a_column_is_sorted_up_then_down_and_another_up_again():
    assert Listing().sorted_by("id") == "sort=-id"
    assert Listing(sort="-id").sorted_by("id") == ""
    assert Listing(team="shop").sorted_by("changed_at") == "team=shop&sort=changed_at"
    assert Listing(sort="changed_at").sorted_by("changed_at") == "sort=-changed_at"


def test_labels_that_narrow_the_list_down_are_offered_with_their_counts_and_can_be_removed():
    assert dict(label_choices(FLEET, ())) == {
        "tier=prod": 2, "tier=dev": 1, "region=eu": 1, "region=us": 1, 'note=it\'s "quoted"': 1,
    }  # fmt: skip
    assert "tier=prod" not in dict(label_choices(FLEET, ("tier=prod",)))
    assert Listing(labels=("a=1", "b=2")).without("a=1") == "label=b%3D2"


def test_what_an_address_should_not_hold_is_left_out():
    assert listing(sort="nonsense", label=["none", "a=1", "a=1"]) == Listing(labels=("a=1",))
    assert len(listing(label=[f"a={n}" for n in range(MAX_LABELS + 1)]).labels) == MAX_LABELS


def test_a_page_continues_behind_a_service_that_has_left_the_list():
    prod = [each for each in FLEET if each.row.labels.get("tier") == "prod"]
    assert position_after("", FLEET, prod) == 0
    assert position_after("shop/cart", FLEET, prod) == 1
    assert position_after("maps/tiles", FLEET, prod) == 2  # is of another tier by now
    assert position_after("shop/gone", FLEET, prod) == 0
