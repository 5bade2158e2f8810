"""Ten thousand services in the console: filtered and paged on the server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from console_kit import violations_of
from playwright.sync_api import Browser, expect

from bondstone.identity.local_token import local_principal
from bondstone.store import Store
from harness import light_api

pytestmark = pytest.mark.integration


def test_a_fleet_of_ten_thousand_is_filtered_and_paged_on_the_server(browser: Browser, tmp_path: Path) -> None:
    fleet = [
        light_api.a_service(f"team-{number % 20}/web-{number:05}", promise=f"promise-{number % 7}", number=number)
        for number in range(10_000)
    ]
    with light_api.serving(tmp_path / "data", light_api.Listed(fleet)) as settings:

        async def begin() -> str:
            store = await Store.open(settings)
            return (await store.sessions.begin(local_principal("ada"), now=datetime.now(UTC)))[0]

        with ThreadPoolExecutor() as other:  # this thread has Playwright's event loop
            session = other.submit(asyncio.run, begin()).result()
        context = browser.new_context(base_url=settings.api)
        context.add_cookies([{"name": "bond_session", "value": session, "url": settings.api}])
        page = context.new_page()
        answer = page.goto("/services")
        assert answer is not None
        assert len(answer.body()) < 150_000
        expect(page.locator(".lead")).to_have_text("10000 services.")
        page.get_by_role("link", name="Next page").click()
        expect(page.get_by_role("link", name="team-0/web-02000")).to_be_visible()
        page.get_by_label("Team", exact=True).select_option("team-7")
        page.get_by_label("Name contains").fill("web-0")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".lead")).to_have_text("10000 services, 500 match.")
        assert "team=team-7" in page.url
        page.get_by_role("link", name="changed").click()
        page.get_by_role("link", name="changed").click()
        expect(page.get_by_role("link", name="team-7/web-").first).to_have_text("team-7/web-09987")
        page.goto(page.url + "&where=promise%20==%20'promise-3'")
        expect(page.get_by_role("link", name="team-7/web-00087")).to_be_visible()
        assert [item["id"] for item in violations_of(page)] == []
        context.close()
