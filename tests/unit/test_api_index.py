"""The index of services, against a visibility of our own that answers in any order and leaves things out."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bondstone.api.index import services as index_module
from bondstone.api.index.services import ServiceIndex
from bondstone.base.errors import Unreachable
from bondstone.model.identity import Scope
from bondstone.model.rows import FleetList, ListedService
from bondstone.model.service_row import ServiceRow

NOW = datetime.now(UTC)


def listed(name, *, phase="ready", at=0.0, alive=True, promise="queue", team="payments", **fields):
    """A service that was last changed `at` seconds from now."""
    row = ServiceRow(
        id=f"{team}/{name}", team=team, name=name, promise=promise, revision=f"{promise}@1.0.0", phase=phase,
        health="healthy", labels={}, changed_at=NOW, **fields,
    )  # fmt: skip
    return ListedService(row=row, alive=alive, stamp=NOW + timedelta(seconds=at))


class Visibility:
    """What Temporal would answer."""

    def __init__(self, *services):
        self.services = list(services)
        self.lists = 0
        self.fails = 0

    async def listed(self, *, since=None, pause_seconds=0.0):  # noqa: ARG002 - as the real one
        if self.fails:
            self.fails -= 1
            raise Unreachable("not now")
        if since is None:
            self.lists += 1
        yield [service for service in self.services if since is None or service.stamp >= since]

    async def count_alive(self):
        return sum(service.alive for service in self.services)


def names(index, sort="id", **how):
    return [entry.row.name for _, entry in index.sorted_by(sort, **how)]


async def filled(*services):
    visibility = Visibility(*services)
    index = ServiceIndex(visibility, poll_seconds=0.01)
    await index.relist()
    return index, visibility


async def test_a_change_is_read_by_a_look_at_what_is_recent_alone():
    index, visibility = await filled(listed("a", at=-60), listed("b", at=-60))
    visibility.services[0] = listed("a", phase="updating", at=1)
    await index.poll()
    assert index.counts().phases == {"updating": 1, "ready": 1}
    assert visibility.lists == 1


async def test_of_two_states_the_later_counts_in_whatever_order_they_are_read():
    index, visibility = await filled(listed("a", phase="updating", at=2))
    visibility.services = [listed("a", phase="ready", at=1)]
    await index.relist()
    assert index.counts().phases == {"updating": 1}


async def test_a_name_that_is_used_again_is_alive_whatever_became_of_the_first():
    index, visibility = await filled(listed("a", phase="decommissioned", at=1, alive=False))
    assert index.counts().total == 0
    visibility.services.append(listed("a", phase="requested", at=2))
    await index.relist()
    assert index.counts().phases == {"requested": 1}


async def test_what_is_gone_from_the_list_is_forgotten_unless_it_is_newer_than_the_list():
    index, visibility = await filled(listed("old", at=-60), listed("new", at=24 * 3600))
    visibility.services = []
    await index.relist()
    assert names(index) == ["new"]


async def test_a_service_that_no_look_shows_is_missed_by_the_count_and_listed():
    index, visibility = await filled(listed("a", at=-60))
    visibility.services.append(listed("unmarked", at=-3600))
    await index._compare()
    assert names(index) == ["a", "unmarked"]
    assert visibility.lists == 2


async def test_the_list_is_tried_again_until_temporal_answers(monkeypatch):
    monkeypatch.setattr(index_module, "FIRST_LIST_SECONDS", 0.02)
    visibility = Visibility(listed("a"))
    visibility.fails = 3
    index = ServiceIndex(visibility, poll_seconds=0.01)
    with pytest.raises(Unreachable):
        await index.ready()
    task = asyncio.create_task(index.keep())
    await asyncio.wait_for(index._listed.wait(), 60)
    await index.ready()
    assert names(index) == ["a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Kept:
    """A kept list in memory."""

    def __init__(self, fleet=None):
        self.fleet = fleet

    async def get(self):
        return self.fleet

    async def put(self, fleet):
        self.fleet = fleet


async def test_a_new_process_begins_with_the_kept_list_and_what_has_changed_since():
    kept = Kept(FleetList(current_to=NOW, services=(listed("a", at=-60), listed("b", at=-60))))
    visibility = Visibility(listed("a", at=-60), listed("b", phase="failed", at=1))
    index = ServiceIndex(visibility, kept)
    await index.begin()
    await index.ready()
    assert index.counts().phases == {"ready": 1, "failed": 1}
    assert visibility.lists == 0


async def test_a_kept_list_that_the_count_contradicts_is_replaced_by_a_whole_one():
    kept = Kept(FleetList(current_to=NOW, services=(listed("a", at=-60),)))
    visibility = Visibility(listed("a", at=-60), listed("unmarked", at=-3600))
    index = ServiceIndex(visibility, kept)
    await index.begin()
    assert names(index) == ["a", "unmarked"]
    assert [service.row.name for service in kept.fleet.services] == ["a", "unmarked"]
    assert kept.fleet.current_to < datetime.now(UTC)


async def test_orders_are_by_the_field_and_then_by_id_and_go_on_after_any_place():
    index, _ = await filled(
        listed("c", phase="ready"),
        listed("a", phase="ready"),
        listed("b", phase="failed"),
        listed("d", phase="ready"),
    )
    assert names(index, "phase") == ["b", "a", "c", "d"]
    assert names(index, "phase", descending=True) == ["d", "c", "a", "b"]
    assert names(index, "phase", after=("ready", "payments/a")) == ["c", "d"]
    assert names(index, "phase", after=("ready", "payments/bb")) == ["c", "d"], (
        "a place that is not taken any more"
    )
    assert names(index, "phase", descending=True, after=("ready", "payments/c")) == ["a", "b"]


async def test_the_oldest_comes_first_and_before_it_those_whose_age_is_not_listed():
    def born(seconds):
        return NOW + timedelta(seconds=seconds)

    index, _ = await filled(
        listed("a", created_at=born(3)),
        listed("b", created_at=born(1)),
        listed("c"),
        listed("d", created_at=born(2)),
    )
    assert names(index, "created_at") == ["c", "b", "d", "a"]
    assert names(index, "created_at", after=(born(1).timestamp(), "payments/b")) == ["d", "a"]
    assert names(index, "created_at", descending=True, after=(born(2).timestamp(), "payments/d")) == ["b", "c"]


async def test_counts_are_of_what_the_caller_may_see_and_of_what_is_alive():
    index, _ = await filled(
        listed("a"), listed("b", team="web", promise="site"), listed("c", phase="decommissioned", alive=False)
    )
    assert index.counts().teams == {"payments": 1, "web": 1}
    assert index.counts(Scope(teams=("web",)).covers).promises == {"site": 1}


async def test_who_has_just_changed_something_reads_what_is_there_now():
    index, visibility = await filled(listed("a"))
    visibility.services.append(listed("b", at=1))
    await index.ready("grace")
    assert names(index) == ["a"]
    index.expect_changes_of("ada")
    await index.ready("ada")
    assert names(index) == ["a", "b"]


async def test_whoever_follows_hears_of_each_change_once():
    index, visibility = await filled(listed("a"))
    position = index.position
    waiting = asyncio.create_task(index.changes(position))
    await asyncio.sleep(0)
    visibility.services.append(listed("b", at=1))
    await index.poll()
    await index.poll()
    later, entries = await asyncio.wait_for(waiting, 60)
    assert [entry.row.name for entry in entries] == ["b"]
    assert later == position + 1
