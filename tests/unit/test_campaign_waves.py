"""Which services are targets, in which wave, and why the others are not."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from campaign_samples import edited, read_text
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.base.errors import CampaignInvalid
from bondstone.campaign.fleet import FleetService
from bondstone.campaign.waves import Partition, partition
from bondstone.model.campaign.manifest import Campaign, share_of

PUBLISHED: dict[str, Any] = {
    "1.3.0": "active", "1.3.9": "active", "1.4.0": "active", "1.4.1": "active", "1.4.2": "active",
    "1.4.3": "deprecated", "1.5.0": "active", "1.4.4": "yanked",
}  # fmt: skip


def service(number: int, **changes: Any) -> FleetService:
    fields: dict[str, Any] = {
        "id": f"team{number % 3}/db-{number}",
        "promise": "postgres",
        "version": "1.4.0",
        "phase": "ready",
        "labels": {"tier": "prod", "env": "live", "region": "eu" if number % 2 else "us"},
    }
    return FleetService(**{**fields, **changes})


def campaign(waves: list[dict[str, Any]], name: str = "cve", **spec: Any) -> Campaign:
    return Campaign.model_validate(
        {
            "apiVersion": "bondstone.dev/v1",
            "kind": "Campaign",
            "metadata": {"name": name, "reason": "a test"},
            "spec": {"operation": "patch", "promise": "postgres", "to": "1.4.2", "waves": waves, **spec},
        }
    )


REST = [{"name": "rest", "rest": True}]


def reasons(partition: Partition) -> dict[str, tuple[str, str]]:
    return {left.service: (left.kind, left.reason) for left in partition.left}


# Properties ----------------------------------------------------------------------------------------------

waves = st.lists(
    st.one_of(
        st.fixed_dictionaries({"count": st.integers(1, 20)}),
        st.fixed_dictionaries({"percent": st.integers(1, 100)}),
        st.sampled_from(["labels.env == 'staging'", "team == 'team1'", "labels.nothing == 'x'", "true"]).map(
            lambda where: {"where": where}
        ),
    ),
    min_size=1,
    max_size=5,
).map(lambda result: [{"name": f"wave-{n}", **wave} for n, wave in enumerate(result)])

services = st.lists(
    st.tuples(
        st.sampled_from(["1.3.0", "1.4.0", "1.4.1", "1.4.2", "1.5.0", ""]),
        st.sampled_from(["ready", "degraded", "decommissioning"]),
        st.sampled_from(["live", "staging"]),
        st.sampled_from(["postgres", "postgres", "redis"]),
    ),
    max_size=60,
).map(
    lambda rows: [
        service(
            n, version=v, phase=phase, promise=promise, labels={"env": env, **({"region": "eu"} if n % 4 else {})}
        )
        for n, (v, phase, env, promise) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(waves, st.sampled_from([REST, []])).map(lambda pair: pair[0] + pair[1]),
    services,
    st.tuples(st.sampled_from(["spread", "name", "label:region"]), st.integers(1, 50)),
    st.randoms(),
)
def test_every_service_is_in_one_wave_or_left_for_a_reason(
    chosen: list[dict[str, Any]], fleet: list[FleetService], how: tuple[str, int], shuffle: random.Random
) -> None:
    order, limit = how
    rest = chosen[-1].get("rest", False)
    wanted = campaign(chosen, order=order, select={"max": limit}, unmatched="skip")
    parts = partition(wanted, fleet, PUBLISHED)

    assert Counter([*(t.service for t in parts.targets), *(left.service for left in parts.left)]) == Counter(
        it.id for it in fleet
    )
    assert [t.wave for t in parts.targets] == sorted(t.wave for t in parts.targets)
    assert [wave.size for wave in parts.waves] == [
        sum(t.wave == index for t in parts.targets) for index in range(len(chosen))
    ]
    kinds = reasons(parts)
    unmatched = [name for name, reason in kinds.items() if reason == ("skipped", "no wave takes it")]
    total = len(parts.targets) + len(unmatched)
    assert total <= limit
    assert not (rest and unmatched)

    by_id, left = {it.id: it for it in fleet}, total
    for wave, numbers in zip(chosen, parts.waves, strict=True):
        if "count" in wave:
            assert numbers.size == min(wave["count"], left)
        elif "percent" in wave:
            assert numbers.size == min(math.ceil(Fraction(wave["percent"] * total, 100)), left)
            assert numbers.size >= min(1, left)
        elif wave.get("rest"):
            assert numbers.size == left
        left -= numbers.size
    for target in parts.targets:
        it = by_id[target.service]
        assert (it.version in {"1.4.0", "1.4.1"}, it.promise, it.phase != "decommissioning") == (
            True,
            "postgres",
            True,
        )
        assert target.to == "1.4.2"
        for earlier in chosen[: target.wave]:
            assert earlier.get("where") != "true"
            assert not (earlier.get("where") == "labels.env == 'staging'" and it.labels["env"] == "staging")

    again = list(fleet)
    shuffle.shuffle(again)
    assert partition(wanted, again, PUBLISHED) == parts


@given(st.integers(0, 9999), st.integers(0, 100_000))
def test_a_share_is_rounded_down(hundredths: int, targets: int) -> None:
    text = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert share_of(text, targets) == hundredths * targets // 10_000


# Order ---------------------------------------------------------------------------------------------------


def test_the_shuffle_is_the_same_on_every_machine_and_another_for_every_campaign() -> None:
    fleet = [service(n) for n in range(8)]
    first = [t.service for t in partition(campaign(REST), fleet, PUBLISHED).targets]
    assert first == SHUFFLED
    assert first != [t.service for t in partition(campaign(REST, name="other"), fleet, PUBLISHED).targets]


SHUFFLED = [
    "team0/db-3",
    "team0/db-0",
    "team1/db-4",
    "team2/db-5",
    "team2/db-2",
    "team0/db-6",
    "team1/db-7",
    "team1/db-1",
]


def test_targets_go_by_the_value_of_a_label_and_those_without_it_last() -> None:
    fleet = [service(1), service(2), service(3, labels={}), service(4)]
    parts = partition(campaign(REST, order="label:region"), fleet, PUBLISHED)
    assert [t.service for t in parts.targets] == ["team1/db-1", "team1/db-4", "team2/db-2", "team0/db-3"]


# Selection -----------------------------------------------------------------------------------------------


def test_why_each_service_is_no_target() -> None:
    fleet = [
        service(0),
        service(1, promise="redis"),
        service(2, phase="decommissioning"),
        service(3, phase="abandoned"),
        service(4, version=""),
        service(5, version="1.2.0"),
        service(6, version="1.3.0"),
        service(7, version="1.4.2"),
        service(8, version="1.5.0"),
        service(9, labels={}),
        service(10, labels={"tier": "lab"}),
        service(11),
    ]
    select = {"where": "labels.tier == 'prod'", "exclude": ["team2/db-11"]}
    parts = partition(campaign(REST, **{"from": ">=1.3"}, select=select), fleet, PUBLISHED)
    assert [(t.service, t.why, t.to) for t in parts.targets] == [("team0/db-0", "`where` is true of it", "1.4.2")]
    assert parts.flaws == ()
    assert reasons(parts) == {
        "team1/db-1": ("not-selected", "it is of the promise redis"),
        "team2/db-2": ("not-selected", "it is being decommissioned"),
        "team0/db-3": ("not-selected", "it is abandoned"),
        "team1/db-4": ("not-selected", "it was never provisioned"),
        "team2/db-5": ("not-selected", "it is at 1.2.0, which is not in '>=1.3'"),
        "team0/db-6": ("not-selected", "1.3.0 to 1.4.2 is an upgrade, not a patch"),
        "team1/db-7": ("skipped", "compliant"),
        "team2/db-8": ("not-selected", "it is at 1.5.0, which is newer than 1.4.2"),
        "team0/db-9": ("not-selected", reasons(parts)["team0/db-9"][1]),
        "team1/db-10": ("not-selected", "`where` is not true of it"),
        "team2/db-11": ("not-selected", "it is named in select.exclude"),
    }
    assert reasons(parts)["team0/db-9"][1].startswith("`where` cannot be evaluated for it: ")


def test_included_services_are_targets_whatever_where_says() -> None:
    fleet = [service(0), service(1, labels={}), service(2, labels={})]
    both = campaign(REST, select={"where": "labels.tier == 'prod'", "include": ["team1/db-1"]}, order="name")
    assert [t.service for t in partition(both, fleet, PUBLISHED).targets] == ["team0/db-0", "team1/db-1"]
    alone = campaign(REST, select={"include": ["team1/db-1"]})
    assert [t.service for t in partition(alone, fleet, PUBLISHED).targets] == ["team1/db-1"]


def test_each_target_of_latest_patch_goes_to_the_newest_of_its_own_line() -> None:
    fleet = [service(0, version="1.3.0"), service(1), service(2, version="1.4.2")]
    parts = partition(campaign(REST, to="latest-patch", order="name"), fleet, PUBLISHED)
    assert [(t.service, t.to) for t in parts.targets] == [("team0/db-0", "1.3.9"), ("team1/db-1", "1.4.2")]
    assert reasons(parts) == {"team2/db-2": ("skipped", "compliant")}


def test_what_moves_no_version_takes_every_promise() -> None:
    fleet = [service(0), service(1, promise="redis", version="7.0.0")]
    parts = partition(campaign(REST, operation="reconcile", promise=None, to=None), fleet, {})
    assert {(t.service, t.to) for t in parts.targets} == {("team0/db-0", ""), ("team1/db-1", "")}


# Numbers -------------------------------------------------------------------------------------------------


def test_shares_of_failures_become_numbers_of_their_scope() -> None:
    chosen = [
        {"name": "canary", "count": 2, "max_failures": 0, "soak": "30m"},
        {"name": "rest", "rest": True, "max_failures": "10%", "max_concurrent": 3},
    ]
    fleet = [service(n) for n in range(149)]
    whole = partition(campaign(chosen, budget={"max_failures": "2%"}), fleet, PUBLISHED)
    assert whole.max_failures == 2
    assert [(w.size, w.max_failures, w.max_concurrent, w.soak_seconds) for w in whole.waves] == [
        (2, 0, None, 1800),
        (147, 14, 3, 0),
    ]
    each = partition(campaign(chosen, budget={"max_failures": "2%", "scope": "wave"}), fleet, PUBLISHED)
    assert (each.max_failures, [w.max_failures for w in each.waves]) == (None, [0, 2])


# Flaws ---------------------------------------------------------------------------------------------------


OLD = [service(0, id="team9/old", version="1.5.0")]


@pytest.mark.parametrize(
    ("edits", "fleet", "published", "says"),
    [
        (
            [("    - {name: rest, rest: true}\n", "")],
            20,
            PUBLISHED,
            [
                (
                    "campaign.yaml:18:5: no wave takes 8 services: team2/db-8, team2/db-17, team0/db-15, "
                    "team1/db-10, team2/db-5 and 3 more (end with a wave that says rest: true, or write "
                    "unmatched: skip)"
                )
            ],
        ),
        (
            [],
            8,
            {**PUBLISHED, "1.4.2": "yanked"},
            ["campaign.yaml:11:7: postgres@1.4.2 is yanked (nothing may move to it; choose another)"],
        ),
        (
            [],
            8,
            {"1.4.0": "active"},
            ["campaign.yaml:11:7: postgres@1.4.2 is not published (the newest version is 1.4.0)"],
        ),
        ([], 8, {}, ["campaign.yaml:10:12: there is no promise 'postgres' (`bond promise list` lists them)"]),
        (
            [("team != 'lab'", "team == 'lab'")],
            8,
            PUBLISHED,
            [
                (
                    "campaign.yaml:14:5: the campaign selects no service (8 services: `where` is not true "
                    "of it; 1 service: it is at 1.5.0, which is not in '>=1.3 <1.4.2')"
                )
            ],
        ),
        ([], 0, PUBLISHED, ["campaign.yaml:14:5: the campaign selects no service (there is no service yet)"]),
        (
            [("max: 500", "include: [team0/db-0, nobody/nothing, team9/old]")],
            8,
            PUBLISHED,
            [
                "campaign.yaml:16:27: there is no service nobody/nothing (`bond service list`)",
                (
                    "campaign.yaml:16:43: team9/old cannot be a target: it is at 1.5.0, which is not in '>=1.3 "
                    "<1.4.2' (take it out)"
                ),
            ],
        ),
        (
            [("max_failures: 2%", "max_failures: 8")],
            8,
            PUBLISHED,
            [
                (
                    "campaign.yaml:26:26: 8 failures of 8 services are never exceeded (a budget is broken "
                    "when failures exceed it; to continue always, write on_failure: continue)"
                )
            ],
        ),
    ],
)
def test_what_shows_only_beside_the_fleet_has_its_place_too(
    edits: list[tuple[str, str]], fleet: int, published: dict[str, Any], says: list[str]
) -> None:
    read = read_text(edited(*edits))
    parts = partition(read.require(), [*map(service, range(fleet)), *OLD[:fleet]], published)
    error = read.refuse(parts.flaws)
    assert isinstance(error, CampaignInvalid)
    assert [str(problem) for problem in error.problems] == says


def test_a_small_night_does_not_break_a_schedule_whose_budget_is_for_the_fleet() -> None:
    fleet = [service(n, version="1.4.2" if n else "1.4.0") for n in range(20)]
    parts = partition(campaign(REST, budget={"max_failures": 3}), fleet, PUBLISHED)
    assert (len(parts.targets), parts.flaws) == (1, ())


def test_a_fleet_that_is_compliant_already_is_no_mistake() -> None:
    parts = partition(campaign(REST), [service(n, version="1.4.2") for n in range(3)], PUBLISHED)
    assert (parts.targets, parts.flaws) == ((), ())


# Trees ---------------------------------------------------------------------------------------------------


def compound(number: int) -> list[FleetService]:
    """A shop with a database, which has a disk; and a network that all shops share."""
    shop = f"shop/s{number}"
    return [
        service(0, id=shop, promise="shop", pool="web", labels={"tier": "prod"}),
        service(0, id=f"{shop}-db", promise="postgres", parent=shop, pool="data,web"),
        service(0, id=f"{shop}-db-disk", promise="disk", parent=f"{shop}-db", pool="disks"),
    ]


NETWORK = service(0, id="shop/net", promise="network", bound_by=("shop/s0", "shop/s1"))
COMPOUNDS = [*compound(0), *compound(1), NETWORK, service(9, id="shop/alone")]


def fleetwide(operation: str, **spec: Any) -> Campaign:
    known = {"operation": operation, "promise": None, "to": None, "select": {"where": "true"}}
    return campaign(REST, **known | spec)


def test_a_tree_is_one_target_and_its_parts_are_none() -> None:
    parts = partition(fleetwide("rollback", unit="tree", order="name"), COMPOUNDS, {})
    assert [target.service for target in parts.targets] == ["shop/alone", "shop/net", "shop/s0", "shop/s1"]
    tree = parts.targets[2]
    assert tree.parts == ("shop/s0-db", "shop/s0-db-disk")
    assert tree.pool == "data,disks,web"
    assert reasons(parts)["shop/s0-db-disk"] == (
        "not-selected",
        "it is a part of shop/s0-db, and one target with it",
    )


def test_a_budget_counts_trees() -> None:
    spec = {"unit": "tree", "budget": {"max_failures": "50%"}, "select": {"where": "promise == 'shop'"}}
    parts = partition(fleetwide("rollback", **spec), COMPOUNDS, {})
    assert (len(parts.targets), parts.max_failures, parts.waves[0].size) == (2, 1, 2)


def test_a_part_cannot_be_named_as_a_target_of_a_campaign_over_trees() -> None:
    spec = {"unit": "tree", "select": {"include": ["shop/s0-db"]}}
    flaw = partition(fleetwide("rollback", **spec), COMPOUNDS, {}).flaws[0]
    assert "shop/s0-db cannot be a target: it is a part of shop/s0" in flaw.message


@pytest.mark.parametrize("order", ["spread", "name", "label:tier"])
def test_parts_come_before_their_parents(order: str) -> None:
    parts = partition(fleetwide("reconcile", order=order), COMPOUNDS, {})
    places = {target.service: place for place, target in enumerate(parts.targets)}
    assert len(places) == len(COMPOUNDS)
    for each in COMPOUNDS:
        for parent in filter(None, (each.parent, *each.bound_by)):
            assert places[each.id] < places[parent]


def test_a_decommission_takes_parents_first_and_their_own_parts_go_with_them() -> None:
    parts = partition(fleetwide("decommission"), COMPOUNDS, {})
    order = [target.service for target in parts.targets]
    assert set(order) == {"shop/s0", "shop/s1", "shop/net", "shop/alone"}
    assert order.index("shop/net") > max(order.index("shop/s0"), order.index("shop/s1"))
    assert reasons(parts)["shop/s0-db-disk"] == ("skipped", "it is a part of shop/s0-db, and goes with it")
