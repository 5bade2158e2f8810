"""A developer at the pages of a stock Backstage, in a real browser: signs in, requests, watches, takes down."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from harness.servers.backstage.packages import missing_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
WAIT_MILLISECONDS = 120_000
CANARY = "canary-Pg55wRt2"

expect.set_options(timeout=WAIT_MILLISECONDS)


@pytest.fixture
def page(pair) -> Iterator[Page]:
    if words := missing_pages():
        pytest.skip(words)
    if not CHROMIUM:
        pytest.skip("no Chromium on PATH: install the system's package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=pair.url, viewport={"width": 1280, "height": 1000})
        context.set_default_timeout(WAIT_MILLISECONDS)
        yield context.new_page()
        browser.close()


def sign_in(page: Page, login: str) -> None:
    """At the provider, in the window that Backstage opens for it."""
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Sign In").click()
    provider = opened.value
    provider.locator("input[name=login]").fill(login)
    provider.locator("input[name=password]").fill("any")
    provider.get_by_role("button", name="Sign-in").click()
    provider.get_by_role("button", name="Continue").click()


def step(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def test_a_developer_who_knows_only_backstage_requests_watches_and_takes_down(pair, page):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"), what="the template")
    page.goto("/create")
    sign_in(page, "ada")
    template = page.locator(".MuiCard-root", has_text="A SQLite database file with starter tables")
    template.get_by_role("button", name="Choose").click()

    page.locator("input#root_team").fill("payments")
    page.locator("input#root_team").press("Enter")
    page.get_by_label("Name").fill("pages")
    step(page, "Next")
    expect(page.get_by_label("Contact")).to_be_visible()
    labels = [re.sub(r"[\s*]+$", "", each) for each in page.locator("form label").all_inner_texts()]
    assert labels == ["Size", "Starter tables", "Journal", "Contact"]
    page.get_by_label("Contact").fill("nobody")
    step(page, "Next")
    expect(page.get_by_text("'Inputs Contact' must match pattern")).to_be_visible()
    page.get_by_label("Contact").fill("ada@example.com")
    step(page, "Next")
    page.locator("input[type=password]").fill(CANARY)
    step(page, "Review")
    expect(page.get_by_text("******")).to_be_visible()
    step(page, "Create")

    expect(page.get_by_text(re.compile("payments/pages/op/1 succeeded"))).to_be_visible()
    assert CANARY not in page.content()
    service = json.loads(pair.platform.bond("service", "show", "payments/pages", "-o", "json").stdout)
    assert (service["phase"], service["created_by"]) == ("ready", "ada@example.com")

    pair.until(lambda: (pair.backstage.entity("resource:default/payments.pages") or {}).get("spec"))
    page.get_by_role("link", name="Open in catalog").click()
    expect(page.get_by_role("heading", name="payments/pages")).to_be_visible()
    pair.until(lambda: lifecycle(pair) == "ready", what="the service in the catalog")
    page.reload()
    expect(page.get_by_text("ready", exact=True).first).to_be_visible()
    expect(page.get_by_role("link", name="payments").first).to_be_visible()

    with page.expect_popup() as opened:
        page.get_by_role("link", name=re.compile("Decommission")).click()
    form = opened.value
    expect(form.get_by_label("Service")).to_have_value("payments/pages")
    step(form, "Review")
    step(form, "Create")
    expect(form.get_by_text(re.compile("payments/pages/op/2 succeeded"))).to_be_visible()
    pair.until(lambda: lifecycle(pair) == "decommissioned", what="its end in the catalog")


def lifecycle(pair) -> str:
    entity = pair.backstage.entity("resource:default/payments.pages")
    return entity["spec"]["lifecycle"] if entity else ""
