"""The kept list of services: what has changed since is added, and a count decides whether to trust it."""

from datetime import UTC, datetime, timedelta

import pytest

from bondstone.base.errors import StoreUnavailable, Unreachable
from bondstone.model.rows import FleetList, ListedService
from bondstone.model.service_row import ServiceRow
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects
from bondstone.temporal import fleet_list
from bondstone.temporal.fleet_list import KeptFleet, alive_services


def moment(minutes):
    """That many minutes from now, where now is when the test runs and not when this file was read."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


def listed(name, *, phase="ready", minutes=0.0, at=None, alive=True):
    """A service that was last changed that many minutes from now."""
    row = ServiceRow(
        id=f"payments/{name}", team="payments", name=name, promise="queue", revision="queue@1.0.0", phase=phase,
        health="healthy", labels={}, changed_at=at or moment(minutes),
    )  # fmt: skip
    return ListedService(row=row, alive=alive, stamp=at or moment(minutes))


class Visibility:
    """What Temporal would answer, and how much it was asked for."""

    def __init__(self, *services):
        self.services = list(services)
        self.whole_lists = 0
        self.rows = 0
        self.counted = None

    async def listed(self, *, since=None, pause_seconds=0.0):  # noqa: ARG002 - as the real one
        self.whole_lists += since is None
        page = [service for service in self.services if since is None or service.stamp >= since]
        self.rows += len(page)
        yield page

    async def count_alive(self):
        return sum(service.alive for service in self.services) if self.counted is None else self.counted


@pytest.fixture
async def store(tmp_path):
    return Store(await Objects.open(f"file://{tmp_path}"), KeyRing.generate())


@pytest.fixture
def kept(store):
    return KeptFleet(store)


def shown(rows):
    return [(row.name, row.phase) for row in rows]


async def test_the_first_reader_lists_everything_and_the_next_only_what_changed(kept):
    visibility = Visibility(*(listed(f"svc-{number:03}", minutes=-60) for number in range(100)))
    assert len(await alive_services(visibility, kept)) == 100
    visibility.services[7] = listed("svc-007", phase="failed", minutes=1)
    visibility.services.append(listed("svc-100", minutes=1))
    visibility.rows = 0
    rows = await alive_services(visibility, kept)
    assert (visibility.whole_lists, visibility.rows) == (1, 2)
    assert len(rows) == 101
    assert ("svc-007", "failed") in shown(rows)
    assert [row.name for row in rows] == sorted(row.name for row in rows)


async def test_a_service_that_ended_since_is_left_out(kept):
    visibility = Visibility(listed("a", minutes=-60), listed("b", minutes=-60))
    await alive_services(visibility, kept)
    visibility.services[0] = listed("a", phase="decommissioned", minutes=1, alive=False)
    assert shown(await alive_services(visibility, kept)) == [("b", "ready")]
    assert visibility.whole_lists == 1


async def test_a_service_without_a_mark_is_missed_by_the_count_and_everything_is_listed(kept):
    visibility = Visibility(listed("a", minutes=-60))
    await alive_services(visibility, kept)
    visibility.services.append(listed("unmarked", minutes=-600))
    assert len(await alive_services(visibility, kept)) == 2
    assert visibility.whole_lists == 2


async def test_a_change_that_visibility_shows_late_is_seen_by_the_next_reader(kept):
    visibility = Visibility(listed("a", minutes=-60))
    await alive_services(visibility, kept)
    late = datetime.now(UTC) - fleet_list.MARGIN / 2  # of before the list was made, and not in it yet
    visibility.services[0] = listed("a", phase="failed", at=late)
    assert shown(await alive_services(visibility, kept)) == [("a", "failed")]


async def test_of_two_states_the_later_one_counts(kept):
    await kept.put(FleetList(current_to=moment(-5), services=(listed("a", phase="failed"),)))
    assert shown(await alive_services(Visibility(listed("a", minutes=-1)), kept)) == [("a", "failed")]


async def test_an_old_list_is_kept_anew_without_what_has_ended(kept):
    old = datetime.now(UTC) - 2 * fleet_list.KEEP_AGAIN
    await kept.put(FleetList(current_to=old, services=(listed("a", minutes=-60), listed("b", minutes=-60))))
    visibility = Visibility(listed("a", minutes=-60), listed("b", minutes=-1, alive=False))
    await alive_services(visibility, kept)
    again = await kept.get()
    assert [service.row.name for service in again.services] == ["a"]
    assert again.current_to > old


async def test_what_cannot_be_read_costs_a_whole_list_and_nothing_else(kept, store):
    await store.sealed.put("fleet/services", b"garbage")
    visibility = Visibility(listed("a"))
    assert shown(await alive_services(visibility, kept)) == [("a", "ready")]
    assert visibility.whole_lists == 1


async def test_a_store_that_is_away_costs_a_whole_list_and_nothing_else(kept, store, monkeypatch):
    async def away(*_):
        raise StoreUnavailable("away")

    monkeypatch.setattr(store.objects, "get", away)
    monkeypatch.setattr(store.objects, "put", away)
    assert shown(await alive_services(Visibility(listed("a")), kept)) == [("a", "ready")]


async def test_a_list_that_no_count_agrees_with_is_refused(kept, monkeypatch):
    monkeypatch.setattr(fleet_list, "FLEET_TRIES", 1)
    visibility = Visibility(listed("a"))
    visibility.counted = 3
    with pytest.raises(Unreachable, match="1 services are listed and 3 counted"):
        await alive_services(visibility, kept)
    assert await kept.get() is None
