"""The console's sign-in in a real browser, with a real provider: oidc-provider-mock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from console_kit import page_of
from playwright.sync_api import Browser, Page, expect

from bondstone.base.issuer_settings import IssuerSettings
from bondstone.base.settings import Settings
from bondstone.store import Store
from harness import light_api, providers
from harness.light_api import publish_access

pytestmark = pytest.mark.integration

WANTED = "/services?phase=ready"
ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
spec:
  grants:
    - subjects: [{group: platform}]
      roles: [operator]
      scope: everything
    - subjects: [{user: eve@example.com}]
      roles: [viewer]
      scope: {teams: [payments]}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    if missing := providers.missing_python():
        pytest.skip(missing)
    directory = tmp_path_factory.mktemp("sign-in")
    with providers.python_provider(directory) as issuer:
        trusted = IssuerSettings(
            issuer=issuer,
            client_id="bondstone",
            title="the company",
            subject_claim="email",
            groups_claim="groups",
        )
        with light_api.serving(directory / "data", issuers=(trusted,), admins=("group:admins",)) as settings:
            publish_access(settings, ACCESS)
            yield settings


@pytest.fixture
def page(browser: Browser, platform: Settings) -> Page:
    return page_of(browser, "somebody", base_url=platform.api)


def choose(page: Page, name: str) -> None:
    """Go to the provider, and be somebody there."""
    page.get_by_role("link", name="Sign in with the company").click()
    page.get_by_label("Subject").fill(name)
    page.get_by_role("button", name="Authorize", exact=True).click()


def session_of(page: Page) -> str:
    return next(each["value"] for each in page.context.cookies() if each["name"] == "bond_session")


def end_session(platform: Settings, session: str) -> None:
    """As time does it."""

    async def end() -> None:
        await (await Store.open(platform)).sessions.end(session)

    with ThreadPoolExecutor() as other:  # this thread has Playwright's event loop
        other.submit(asyncio.run, end()).result()


def test_a_person_signs_in_with_the_provider_and_lands_on_the_page_they_asked_for(page: Page) -> None:
    page.goto(WANTED)
    choose(page, "ada")
    expect(page).to_have_url(re.compile(re.escape(WANTED) + "$"))
    expect(page.get_by_text("Signed in as ada@example.com")).to_be_visible()
    cookie = next(each for each in page.context.cookies() if each["name"] == "bond_session")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


def test_the_access_document_says_what_they_may_do(page: Page) -> None:
    page.goto(WANTED)
    choose(page, "eve")
    expect(page.get_by_text("Signed in as eve@example.com")).to_be_visible()
    answer = page.request.get("/ledger?service=shop/cart")
    assert answer.status == 403
    assert "eve@example.com" in answer.text()


def test_signing_out_ends_the_session_on_the_server(page: Page, platform: Settings) -> None:
    page.goto(WANTED)
    choose(page, "ada")
    expect(page.get_by_text("Signed in as ada@example.com")).to_be_visible()
    session = session_of(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("You are signed out")
    page.context.add_cookies([{"name": "bond_session", "value": session, "url": platform.api}])
    page.goto(WANTED)
    expect(page).to_have_url(re.compile("/sign-in"))


def test_a_session_that_is_over_leads_through_the_provider_back_to_the_same_page(
    page: Page, platform: Settings
) -> None:
    page.goto("/catalogue")
    choose(page, "ada")
    expect(page.get_by_text("Signed in as ada@example.com")).to_be_visible()
    end_session(platform, session_of(page))
    page.goto("/catalogue?team=payments")
    choose(page, "ada")
    expect(page).to_have_url(re.compile(r"/catalogue\?team=payments$"))


def test_the_end_of_a_sign_in_is_no_use_in_another_browser_nor_twice(page: Page, browser: Browser) -> None:
    ends: list[str] = []
    page.on("request", lambda request: ends.append(request.url) if "/sign-in/callback" in request.url else None)
    page.goto(WANTED)
    choose(page, "ada")
    expect(page.get_by_text("Signed in as ada@example.com")).to_be_visible()
    other = browser.new_context().new_page()
    assert other.goto(ends[0]).status == 401  # type: ignore[union-attr]
    expect(other.get_by_role("alert")).to_contain_text("this browser did not begin that sign-in")
    state = re.search(r"state=([^&]+)", ends[0])
    assert state is not None
    page.context.add_cookies([{"name": "bond_sign_in", "value": state[1], "url": ends[0]}])
    assert page.goto(ends[0]).status == 401  # type: ignore[union-attr]
    expect(page.get_by_role("alert")).to_contain_text("completed before")
    other.context.close()


def test_a_refusal_of_the_provider_is_shown_in_words_and_one_may_try_again(page: Page) -> None:
    page.goto(WANTED)
    page.get_by_role("link", name="Sign in with the company").click()
    page.get_by_role("button", name="Deny access").click()
    expect(page.get_by_role("alert")).to_contain_text("did not sign you in")
    choose(page, "ada")
    expect(page).to_have_url(re.compile(re.escape(WANTED) + "$"))


def test_a_sign_in_never_leads_to_another_site(page: Page) -> None:
    page.goto("/sign-in?next=//elsewhere.test/x")
    path = page.get_by_role("link", name="Sign in with the company").get_attribute("href")
    assert path is not None
    assert path.endswith("next=%2F")
    page.goto(path.replace("next=%2F", "next=//elsewhere.test/x"))
    with page.expect_response(re.compile("/sign-in/callback")) as answer:
        page.get_by_role("button", name="Deny access").click()
    state = re.search(r"state=([^&]+)", answer.value.url)
    assert state is not None
    assert "elsewhere" not in (page.get_by_role("link", name="Sign in with").get_attribute("href") or "")
