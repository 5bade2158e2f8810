"""The record of refused access: what counts together, what no caller can fill, what is kept and for how long."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.requests import Request

from bondstone.api.refusals import RequestRefusals
from bondstone.api.refused_access import MAX_SPAN, RefusalSearch, span
from bondstone.base.errors import (
    BondError,
    Forbidden,
    HostUnknown,
    InvalidInput,
    NotFound,
    TokenInvalid,
    VoteRefused,
)
from bondstone.cli.access import _span
from bondstone.console.ledger import search as ledger_search
from bondstone.console.refusals import _day
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles, Target
from bondstone.store.ledger import LedgerStore
from bondstone.store.objects import Objects
from bondstone.store.refusal_record import MAX_OF_CALLER, MAX_OF_HOUR, OTHERS
from bondstone.store.refusals import KEPT, Refusals
from harness.waiting import until_async

NOON = datetime(2026, 11, 30, 12, 40, tzinfo=UTC)
ADA = Principal(subject="ada", means="oidc")


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


async def record(objects: Objects | None = None) -> tuple[RequestRefusals, Clock]:
    clock = Clock()
    return RequestRefusals(Refusals(objects or await Objects.open("memory:///")), clock), clock


def forbidden(service: str, principal: Principal = ADA) -> BondError:
    decision = permissions_of(Access(), principal).decide("service.update", Target(team="shop", name=service))
    with pytest.raises(Forbidden) as refusal:
        decision.require()
    return refusal.value


async def kept(refusals: RequestRefusals, first: datetime = NOON, last: datetime = NOON) -> list:
    await refusals.flush()
    return [refusal async for refusal in refusals.kept.between(first, last)]


def request(path: str, route: str, **state: object) -> Request:
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "state": state}
    team, _, name = path.strip("/").partition("/")
    scope |= {"route": type("Route", (), {"path": route})(), "path_params": {"team": team, "name": name}}
    return Request(scope)


async def test_the_same_refusal_within_an_hour_is_one_entry_with_a_count_and_the_last_words():
    refusals, clock = await record()
    for minute in (0, 1, 2):
        clock.now = NOON + timedelta(minutes=minute)
        refusals.count(ADA, "POST /services", forbidden("shop/cart"))
    clock.now = NOON + timedelta(hours=1)
    refusals.count(ADA, "POST /services", forbidden("shop/cart"))
    later, first = await kept(refusals, NOON, clock.now)
    assert (first.by, first.verb, first.target, first.team) == ("ada", "service.update", "shop/cart", "shop")
    assert (first.count, first.first_at, first.last_at) == (3, NOON, NOON + timedelta(minutes=2))
    assert (first.code, later.count, later.hour) == ("FORBIDDEN", 1, datetime(2026, 11, 30, 13, tzinfo=UTC))
    assert "developer" in first.message


async def test_what_refuses_no_access_is_not_counted():
    refusals, _ = await record()
    refusals.note(request("/shop/cart", "/services/{team}/{name}", principal=ADA), NotFound("no such service"))
    assert await kept(refusals) == []


async def test_a_caller_cannot_fill_the_record_and_hides_nobody_else():
    refusals, _ = await record()
    for number in range(10 * MAX_OF_CALLER):
        refusals.count(ADA, "GET /", forbidden(f"shop/s-{number}"))
        refusals.count(None, f"GET /{number}", TokenInvalid("no token of ours"))
    eve = Principal(subject="eve", means="token")
    refusals.count(eve, "GET /", forbidden("shop/cart", eve))
    rows = await kept(refusals)
    assert len(rows) == 2 * (MAX_OF_CALLER + 1) + 1
    assert sum(row.count for row in rows) == 20 * MAX_OF_CALLER + 1
    [rest] = [row for row in rows if row.by == "ada" and row.target == OTHERS]
    assert (rest.verb, rest.count) == (OTHERS, 9 * MAX_OF_CALLER)
    assert [row.target for row in rows if row.by == "eve"] == ["shop/cart"]


async def test_many_callers_cannot_fill_an_hour():
    objects = await Objects.open("memory:///")
    refusals, _ = await record(objects)
    for number in range(2 * MAX_OF_HOUR):
        caller = Principal(subject=f"user-{number}", means="oidc")
        refusals.count(caller, "GET /", forbidden("shop/" + "x" * 5000, caller))
    rows = await kept(refusals)
    assert len(rows) <= MAX_OF_HOUR + 1
    assert sum(row.count for row in rows) == 2 * MAX_OF_HOUR
    [info] = await objects.list("refusals")
    assert info.size < 500_000


async def test_an_unknown_caller_chooses_no_words_of_the_record():
    refusals, _ = await record()
    secret = "a-secret-in-an-address"
    refusals.note(
        request(f"/{secret}/x", "/backstage/v1/{secret}/catalog.yaml"), TokenInvalid("no address of the feed")
    )
    refusals.note(request("/shop/cart", "/services/{team}/{name}"), TokenInvalid("no token of ours"))
    rows = await kept(refusals)
    assert {(row.target, row.message) for row in rows} == {("", "")}
    assert secret not in str(rows)


async def test_a_method_that_is_none_is_no_word_of_the_record():
    refusals, _ = await record()
    for method in ("X" * 60_000, "Y" * 60_000, "GET"):
        foreign = Request({"type": "http", "method": method, "path": "/", "headers": [], "query_string": b""})
        refusals.note(foreign, HostUnknown("this server is not elsewhere"))
    assert [(row.verb, row.count) for row in await kept(refusals)] == [(OTHERS, 2), ("GET", 1)]


async def test_a_vote_that_is_refused_names_its_service():
    refusals, _ = await record()
    route = "/services/{team}/{name}/operations/{number}/vote"
    refusals.note(request("/shop/cart", route, principal=ADA), VoteRefused("ada asked for this"))
    [row] = await kept(refusals)
    assert (row.by, row.verb, row.target, row.team) == ("ada", f"POST {route}", "shop/cart", "shop")


async def test_counts_of_several_processes_are_added_and_a_restart_loses_none():
    objects = await Objects.open("memory:///")
    for _ in range(3):
        process, _ = await record(objects)
        process.count(ADA, "GET /", forbidden("shop/cart"))
        await process.flush()
        process.count(ADA, "GET /", forbidden("shop/cart"))
        await process.flush()
    [row] = await kept(process)
    assert row.count == 6


async def test_what_is_older_than_it_is_kept_is_removed_and_nothing_else():
    objects = await Objects.open("memory:///")
    refusals, clock = await record(objects)
    for age in (timedelta(0), KEPT - timedelta(hours=2), KEPT + timedelta(hours=2)):
        clock.now = NOON - age
        refusals.count(ADA, "GET /", forbidden("shop/cart"))
        await refusals.flush()
    await objects.put("refusals-of-somebody-else/x", b"")
    assert await refusals.kept.sweep(now=NOON) == 1
    assert len(await objects.list("refusals")) == 2
    assert len(await objects.list("refusals-of-somebody-else")) == 1


async def test_what_was_counted_is_written_without_being_asked_for():
    objects = await Objects.open("memory:///")
    refusals, _ = await record(objects)
    keeper = asyncio.create_task(refusals.keep(flush_seconds=0.01))
    try:
        refusals.count(ADA, "GET /", forbidden("shop/cart"))
        await until_async(lambda: objects.list("refusals"))
    finally:
        keeper.cancel()


async def test_the_first_days_of_the_calendar_have_none():
    refusals, _ = await record()
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert await kept(refusals, first, first + timedelta(days=2)) == []
    ledger = LedgerStore(refusals.kept._objects)
    assert [each async for each in ledger.days(date(1, 1, 1), date(1, 1, 3))] == []


async def test_an_object_that_is_not_ours_hides_nothing():
    objects = await Objects.open("memory:///")
    refusals, _ = await record(objects)
    await objects.put("refusals/2026/11/30/12/bad.json", b"{")
    await objects.put("refusals/2026/11/30/notes.txt", b"")
    refusals.count(ADA, "GET /", forbidden("shop/cart"))
    assert len(await kept(refusals)) == 1


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (RefusalSearch(), True),
        (RefusalSearch(by="ada"), True),
        (RefusalSearch(by="ad"), False),
        (RefusalSearch(code="FORBIDDEN"), True),
        (RefusalSearch(code="TOKEN_INVALID"), False),
        (RefusalSearch(text="shop/ca"), True),
        (RefusalSearch(text="service.upd"), True),
        (RefusalSearch(text="elsewhere"), False),
    ],
)
async def test_a_search_is_by_caller_code_and_words(wanted, matches):
    refusals, _ = await record()
    refusals.count(ADA, "GET /", forbidden("shop/cart"))
    [row] = await kept(refusals)
    assert wanted.matches(row) == matches


def test_a_search_has_a_longest_span():
    assert span(None, None, NOON) == (NOON - timedelta(days=1), NOON)
    assert span(datetime(2026, 11, 29), None, NOON)[0].tzinfo is UTC  # noqa: DTZ001 - what a caller may write
    for until in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(InvalidInput, match="not a time"):
            span(None, datetime.fromisoformat(until), NOON)
    for since in (NOON - MAX_SPAN - timedelta(minutes=1), NOON + timedelta(minutes=1)):
        with pytest.raises(InvalidInput):
            span(since, None, NOON)


def test_the_command_can_search_the_longest_span():
    query = {name: datetime.fromisoformat(at) for name, at in _span("31d").items()}
    first, last = span(query["since"], query["until"], datetime.now(UTC))  # of the API, a moment later
    assert last - first == MAX_SPAN


@pytest.mark.parametrize(
    ("grants", "may_read"),
    [
        ((Roles(roles=("operator",), scope=None),), True),
        ((Roles(roles=("auditor",), scope={"teams": ("shop",)}),), True),
        ((Roles(roles=("developer", "viewer"), scope=None),), False),
        ((), False),
    ],
)
def test_operators_and_auditors_read_refusals_each_in_their_scope(grants, may_read):
    permissions = permissions_of(Access(), Principal(subject="eve", means="token", grants=grants))
    permitted = permissions.filter("refusal.read")
    assert permissions.somewhere("refusal.read") == may_read
    if not may_read:
        with pytest.raises(Forbidden, match="operator, auditor or admin"):
            permissions.require_somewhere("refusal.read")
    assert permitted(Target(team="shop")) == may_read
    assert permitted(Target()) == (may_read and grants[0].scope is None)


@pytest.mark.parametrize("day", ["0001-01-01", "1999-12-31", "9999-12-31", "tomorrow", ""])
def test_a_day_of_the_page_is_a_day_or_refused_in_words(day):
    try:
        assert (_day(day) or NOON.date()).year >= 2000
    except InvalidInput as refusal:
        assert refusal.message  # noqa: PT017 - either way


@pytest.mark.parametrize("day", ["0001-01-01", "0001-01-06", "2026-13-01"])
def test_a_day_of_the_ledger_that_cannot_be_searched_is_refused_in_words(day):
    with pytest.raises(InvalidInput, match="not a date"):
        ledger_search(last=day)
