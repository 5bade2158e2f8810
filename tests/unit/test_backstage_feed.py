"""The feed for Backstage: whole or refused, and a change of one service changes one page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from bondstone.api import problems
from bondstone.api.index import services as index_module
from bondstone.api.index.services import ServiceIndex
from bondstone.backstage import feed as feed_module
from bondstone.backstage import refresh as refresh_module
from bondstone.backstage.entities import Places
from bondstone.backstage.feed import Feed, changed_locations
from bondstone.backstage.refresh import Refresher
from bondstone.backstage.routes import _feed_router
from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.errors import StoreUnavailable, Unreachable
from bondstone.base.models import changed_copy
from bondstone.client.documents.promise import PromiseDocument
from bondstone.model.rows import ListedService
from bondstone.model.service_row import ServiceRow
from harness.waiting import NotInTime, until

SECRET = "s" * 43
NOW = datetime.now(UTC)


def listed(
    number: int, *, phase: str = "ready", alive: bool = True, at: float = 0.0, **more: object
) -> ListedService:
    row = ServiceRow(
        id=f"team{number % 7}/s{number}", team=f"team{number % 7}", name=f"s{number}", promise="queue",
        revision="queue@1.0.0", phase=phase, health="healthy", labels={"tier": "prod"}, changed_at=NOW,
    )  # fmt: skip
    return ListedService(row=row, alive=alive, stamp=NOW + timedelta(seconds=at))


class Visibility:
    def __init__(self, services: list[ListedService]) -> None:
        self.services = services

    async def listed(self, *, since=None, pause_seconds=0.0):  # noqa: ARG002 - as the real one
        yield [each for each in self.services if since is None or each.stamp >= since]

    async def count_alive(self):
        return len(self.services)


class Promises:
    def __init__(self) -> None:
        self.away = False
        self.lost = False
        self.title = ""

    async def list(self, **_: object):
        if self.away:
            raise StoreUnavailable("the store does not answer")
        return [] if self.lost else [await self.get("queue")]

    async def get(self, promise: str, _version: str = ""):
        schema = {"properties": {"size": {"type": "string"}, "engine": {"type": "string"}}}
        return PromiseDocument(
            promise=promise,
            version="1.0.0",
            digest="0" * 64,
            status="active",
            owner="data",
            title=self.title,
            input_schema=schema,
        )


class Bond:
    def __init__(self) -> None:
        self.promises = Promises()


async def filled(services: list[ListedService], **more: object) -> tuple[Feed, ServiceIndex, Visibility, Bond]:
    visibility = Visibility(services)
    index, bond = ServiceIndex(visibility), Bond()
    await index.relist()
    settings = BackstageSettings.model_validate(
        {"url": "https://backstage.example", "feed_token_file": "feed", "pages": 1, **more}
    )
    return Feed(index, bond, Places(settings, "https://bond.example")), index, visibility, bond


def documents(body: bytes) -> list[dict]:
    return [json.loads(part) for part in body.decode().split("---\n") if part.strip() and not part.startswith("#")]


async def pages(feed: Feed) -> dict[int, bytes]:
    return {number: (await feed.part(f"services-{number}")).body for number in range(feed.pages)}


async def etags(feed: Feed) -> dict[int, str]:
    return {number: (await feed.part(f"services-{number}")).etag for number in range(feed.pages)}


async def test_every_service_is_on_one_page_and_a_change_changes_that_page_alone():
    services = [listed(number) for number in range(2_000)]
    feed, index, visibility, _ = await filled(services, pages=16)
    names = [each["metadata"]["title"] for body in (await pages(feed)).values() for each in documents(body)]
    assert sorted(names) == sorted(each.row.id for each in services)

    before = await etags(feed)
    visibility.services[5] = listed(5, phase="updating", at=1)
    visibility.services.append(listed(5_000, at=1))
    await index.poll()
    after = await etags(feed)
    changed = {
        f"location:default/bondstone-services-{number}" for number in after if after[number] != before[number]
    }
    assert changed == set(changed_locations(feed, ["team5/s5", f"team{5_000 % 7}/s5000"]))


async def test_no_service_moves_to_another_page_as_the_platform_grows():
    """Backstage would lose it from its catalog until it had read every page again."""
    feed, index, visibility, _ = await filled([listed(number) for number in range(500)], pages=64)
    before = {each.row.id: feed.location_of(each.row.id) for each in visibility.services}
    visibility.services += [listed(number, at=1) for number in range(500, 700)]
    await index.poll()
    assert {service: feed.location_of(service) for service in before} == before


async def test_the_catalog_names_every_part():
    feed, *_ = await filled([listed(1)], pages=4)
    named = {each["metadata"]["name"] for each in documents((await feed.part("catalog")).body)}
    assert named == {"bondstone-promises", "bondstone-teams", *(f"bondstone-services-{page}" for page in range(4))}
    for name in named:
        assert await feed.part(name.removeprefix("bondstone-")) is not None
    assert await feed.part("services-4") is None
    for number in ("x", "\u00b2", "9" * 5000):
        assert await feed.part(f"services-{number}") is None


async def test_an_owner_is_described_wherever_it_is_named():
    feed, *_ = await filled([listed(1)])
    groups = {each["metadata"]["name"] for each in documents((await feed.part("teams")).body)}
    assert groups == {"team1", "data"}


async def test_fields_of_a_form_stand_in_the_order_of_the_promise():
    feed, *_ = await filled([listed(1)])
    described = documents((await feed.part("promises")).body)
    template = next(each for each in described if each["metadata"]["name"] == "queue")
    first, inputs = template["spec"]["parameters"]
    assert list(first["properties"]) == ["team", "name", "reason"]
    assert list(inputs["properties"]["inputs"]["properties"]) == ["size", "engine"]


async def test_a_service_that_ended_is_described_for_a_day():
    day = timedelta(days=1).total_seconds()
    ended = [
        listed(1, phase="decommissioned", alive=False, at=-60),
        listed(2, phase="decommissioned", alive=False, at=-day - 60),
    ]
    feed, *_ = await filled([*ended, listed(3)])
    phases = {each["metadata"]["title"]: each["spec"]["lifecycle"] for each in documents((await pages(feed))[0])}
    assert phases == {"team1/s1": "decommissioned", "team3/s3": "ready"}


async def test_what_is_not_known_is_refused_and_never_described_as_empty(monkeypatch):
    monkeypatch.setattr(index_module, "FIRST_LIST_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "FRESH_SECONDS", -1.0)
    feed, _, _, bond = await filled([listed(1)])
    bond.promises.away = True
    for part in ("promises", "teams"):
        with pytest.raises(StoreUnavailable):
            await feed.part(part)
    unlisted = Feed(ServiceIndex(Visibility([])), Bond(), feed._places)
    for part in ("catalog", "services-0"):
        with pytest.raises(Unreachable):
            await unlisted.part(part)


async def test_a_store_that_has_lost_its_promises_is_no_reason_to_delete_their_templates(monkeypatch):
    """As a directory is that is not mounted: it answers, and is empty."""
    monkeypatch.setattr(feed_module, "FRESH_SECONDS", -1.0)
    feed, _, _, bond = await filled([])
    assert await feed.part("promises") is not None
    bond.promises.lost = True
    with pytest.raises(StoreUnavailable, match="no longer has the promise queue"):
        await feed.part("promises")
    started_since, _, _, bond = await filled([listed(1)])
    bond.promises.lost = True
    with pytest.raises(StoreUnavailable, match="no longer has the promise queue"):
        await started_since.part("teams")
    new, _, _, bond = await filled([])
    bond.promises.lost = True
    assert await new.part("promises") is not None, "a platform that never had any"


async def test_a_service_whose_first_request_came_to_nothing_hides_no_promise():
    """Until its workflow has closed it is listed without a promise."""
    row = replace(listed(1).row, promise="", revision="")
    feed, _, _, _ = await filled([ListedService(row=row, alive=True, stamp=NOW)])
    assert await feed.part("promises") is not None


async def test_how_long_a_service_is_described_after_its_end_is_a_setting():
    ended = [listed(1, phase="decommissioned", alive=False, at=-60), listed(2)]
    feed, *_ = await filled(ended, ended_hours=0)
    assert [each["metadata"]["title"] for each in documents((await pages(feed))[0])] == ["team2/s2"]


async def test_two_processes_describe_the_same(monkeypatch):
    """One has followed changes that the other has read at once, in another order."""
    monkeypatch.setattr(feed_module, "FRESH_SECONDS", -1.0)
    services = [listed(number) for number in range(600)]
    one, index, visibility, _ = await filled(services, pages=4)
    visibility.services[5] = listed(5, phase="updating", at=1)
    visibility.services.append(listed(5_000, at=1))
    await index.poll()
    other, *_ = await filled(list(reversed(visibility.services)), pages=4)
    names = ["catalog", "promises", "teams", *(f"services-{number}" for number in range(one.pages))]
    for name in names:
        assert (await one.part(name)).etag == (await other.part(name)).etag


async def test_the_feed_says_nothing_of_people():
    feed, *_ = await filled([listed(1)])
    everything = b"".join(
        [(await feed.part(name)).body for name in ("catalog", "promises", "teams", "services-0")]
    )
    assert b"@" not in everything.replace(b"queue@1.0.0", b"")


async def test_the_secret_of_the_address_is_in_no_log_whatever_fails():
    feed, _, _, bond = await filled([listed(1)])
    app = FastAPI()
    problems.install(app)
    app.include_router(_feed_router(feed, SECRET))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        with capture_logs() as logs:
            bond.promises.away = True
            away = await client.get(f"/backstage/v1/{SECRET}/promises.yaml")
            unknown = await client.get(f"/backstage/v1/{SECRET}/nothing.yaml")
            stranger = await client.get("/backstage/v1/guessed/services-0.yaml")
            right = await client.get(f"/backstage/v1/{SECRET}/services-0.yaml")
    assert [each.status_code for each in (away, unknown, stranger, right)] == [503, 404, 404, 200]
    assert logs
    assert SECRET not in str(logs)


@asynccontextmanager
async def telling(index: ServiceIndex, feed: Feed, folder: Path, *, fails: int = 0) -> AsyncIterator[list[str]]:
    """What Backstage is told of, in its order.

    Args:
        index: Every service.
        feed: Of them.
        folder: For the token.
        fails: How many of its first answers are a 503.
    """
    told: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == "Bearer catalog-token"
        told.append(json.loads(request.content)["entityRef"])
        return httpx2.Response(503 if len(told) <= fails else 200)

    token = folder / "token"
    token.write_text("catalog-token")
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    task = asyncio.create_task(Refresher(index, feed, "https://backstage.example", token, client).run())
    try:
        await asyncio.sleep(0.1)
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_backstage_is_told_of_teams_only_when_there_is_another_team(monkeypatch, tmp_path):
    monkeypatch.setattr(refresh_module, "GATHER_SECONDS", 0.01)
    feed, index, visibility, _ = await filled([listed(number) for number in range(20)], pages=4)
    teams = "location:default/bondstone-teams"
    async with telling(index, feed, tmp_path) as told:
        for number in range(3):
            visibility.services[number] = listed(number, phase="updating", at=1)
            await index.poll()
            await until(lambda: len([each for each in told if each != teams]) == number + 1)  # noqa: B023 - awaited here
        assert told.count(teams) <= 1
        new = listed(20)
        row = replace(new.row, id="newcomers/s20", team="newcomers")
        visibility.services.append(changed_copy(new, {"row": row, "stamp": NOW + timedelta(seconds=2)}))
        told.clear()
        await index.poll()
        await until(lambda: teams in told)


async def test_backstage_is_told_which_part_has_changed(monkeypatch, tmp_path):
    monkeypatch.setattr(refresh_module, "PROMISES_SECONDS", 0.01)
    monkeypatch.setattr(refresh_module, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "FRESH_SECONDS", -1.0)
    feed, index, visibility, bond = await filled([listed(number) for number in range(600)], pages=4)
    async with telling(index, feed, tmp_path) as told:
        assert told == []
        visibility.services[5] = listed(5, phase="updating", at=1)
        await index.poll()
        wanted = set(changed_locations(feed, ["team5/s5"]))
        await until(lambda: wanted <= set(told))
        told.clear()
        bond.promises.title = "A queue"
        await until(lambda: "location:default/bondstone-promises" in told)


@pytest.mark.parametrize(("fails", "by_itself", "sent"), [(7, 60.0, 8), (10_000, 0.0, 3)])
async def test_what_backstage_was_not_told_is_repeated_until_it_has_read_by_itself(
    fails, by_itself, sent, monkeypatch, tmp_path
):
    for name in ("GATHER_SECONDS", "RETRY_SECONDS", "AGAIN_SECONDS", "AGAIN_AT_MOST_SECONDS"):
        monkeypatch.setattr(refresh_module, name, 0.01)
    monkeypatch.setattr(refresh_module, "BY_ITSELF_SECONDS", by_itself)
    feed, index, visibility, _ = await filled([listed(number) for number in range(20)], describe_teams=False)
    services = "location:default/bondstone-services-0"
    async with telling(index, feed, tmp_path, fails=fails) as told:
        visibility.services[5] = listed(5, phase="updating", at=1)
        await index.poll()
        await until(lambda: told.count(services) == sent)
        with pytest.raises(NotInTime):
            await until(lambda: told.count(services) > sent, seconds=0.3)
