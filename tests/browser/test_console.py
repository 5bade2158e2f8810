"""The console in a real browser, on a real platform with real Terraform."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from console_kit import (
    ACCESS,
    CAMPAIGN,
    ECHOED,
    HOSTILE,
    LABEL,
    LOOKS,
    ORDERS,
    PAGES,
    ROOT,
    TURNED,
    WATCH,
    assert_harmless,
    link,
    page_of,
    server,
    signed_in,
    to_button,
    until_it_serves,
    violations_of,
)
from playwright.sync_api import Browser, expect

from harness.local_platform import LocalPlatform, running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with running(tmp_path_factory.mktemp("console") / "data") as local:
        local.bond("promise", "publish", str(ROOT / "promises" / "sqlite-database"))
        local.bond("service", "request", "sqlite-database", "payments/orders", "--set", "contact=a@b.c", "--wait")
        yield local


@pytest.fixture(scope="module")
def fleet(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> LocalPlatform:
    """A platform with three web servers at 1.0.0, one of which 1.0.1 will not fit."""
    for version in ("1.0.0", "1.0.1"):
        directory = tmp_path_factory.mktemp("promise") / "web-server"
        platform.bond("promise", "publish", str(server(directory, version)))
    for number, protocol in enumerate(("tls13", "tls12", "tls13")):
        ring = "canary" if number == 0 else "rest"
        platform.bond(
            "service", "request", "web-server", f"shop/web-{number}", "--version", "1.0.0",
            "--label", f"ring={ring}", "--label", f"note={LABEL}", "--set", f"protocol={protocol}",
            "--reason", HOSTILE,
        )  # fmt: skip
    for number in range(3):
        platform.bond("operation", "wait", f"shop/web-{number}/op/1")
    return platform


@pytest.fixture(scope="module")
def looked_at(fleet: LocalPlatform) -> LocalPlatform:
    """A platform with something on every page: a campaign at its gate, a freeze."""
    file = fleet.data.parent / "look.yaml"
    gated = CAMPAIGN.replace("max_failures: 0}\n    -", "gate: {approval: {roles: [sre]}}}\n    -")
    file.write_text(gated.replace("patch-servers", "look").replace('"CVE in openssl"', json.dumps(HOSTILE)))
    fleet.bond("campaign", "run", "-f", str(file))
    fleet.bond("freeze", "create", "audit", "--team", "nobody", "--reason", HOSTILE)
    return fleet


def test_one_person_requests_another_approves_and_the_page_follows_by_itself(
    platform: LocalPlatform, browser: Browser
) -> None:
    ada, base = signed_in(platform, browser, "ada")
    ada.goto(f"{base}/catalogue/sqlite-database/request")
    ada.get_by_label("Team").fill("shop")
    ada.get_by_label("Name of the service").fill("cart")
    ada.get_by_label("Contact").fill("ada@example.com")
    ada.get_by_label("Reason").fill(TURNED)
    ada.get_by_role("button", name="Request", exact=True).click()
    expect(ada).to_have_url(f"{base}/services/shop/cart/operations/1")
    expect(ada.get_by_role("main")).to_contain_text(r"quarter\u202edne\u200b")
    expect(ada.locator(".lead")).to_contain_text("Succeeded", timeout=180_000)
    platform.bond("--as", "ada", "service", "update", "shop/cart", "--set", "size=medium", "--ask")
    ada.goto(f"{base}/services/shop/cart/operations/2")
    expect(ada.locator(".lead")).to_contain_text("Waits for approval of step database", timeout=180_000)
    eve, _ = signed_in(platform, browser, "eve")
    eve.goto(f"{base}/services/shop/cart/operations/2")
    eve.get_by_label("Comment").fill(HOSTILE)
    eve.get_by_role("button", name="Approve this plan").click()
    expect(ada.locator(".lead")).to_contain_text("Succeeded", timeout=180_000)
    expect(ada.get_by_role("listitem").filter(has_text="eve approved")).to_contain_text(HOSTILE)
    assert_harmless(ada)


def test_an_update_of_the_page_leaves_what_a_person_types(
    platform: LocalPlatform, browser: Browser, tmp_path: Path
) -> None:
    promise = shutil.copytree(ROOT / "tests" / "integration" / "promises" / "held", tmp_path / "held")
    manifest = promise / "promise.yaml"
    text = manifest.read_text().replace("roles: [dba], count: 1", "roles: [dba], count: 2")
    manifest.write_text(text.replace("name: held,", "name: paired,"))
    platform.bond("promise", "publish", str(promise))
    inputs = ("--set", f"made={tmp_path}/made", "--set", "gated=true")
    platform.bond("--as", "ada", "service", "request", "paired", "payments/paired", *inputs)
    eve, base = signed_in(platform, browser, "eve")
    eve.goto(f"{base}/services/payments/paired/operations/1")
    expect(eve.locator(".lead")).to_contain_text("by 2 of dba", timeout=180_000)
    eve.get_by_label("Comment").fill("looked at it")
    eve.locator("#plan-things details").first.click()
    [waiting] = json.loads(platform.bond("approval", "list", "-o", "json").stdout)
    platform.kill(platform.pid("api"))  # the page takes its stream up again
    until_it_serves(base)
    vote = ("--digest", waiting["digest"], "--role", "dba")
    platform.bond("--as", "bob", "approval", "approve", waiting["operation"], *vote)
    expect(eve.locator(".lead")).to_contain_text("by one of dba", timeout=180_000)
    assert eve.get_by_label("Comment").input_value() == "looked at it"
    expect(eve.locator("#plan-things details").first).to_have_attribute("open", "")
    eve.get_by_role("button", name="Approve this plan").click()
    expect(eve.locator(".lead")).to_contain_text("Succeeded", timeout=180_000)
    expect(eve.get_by_role("listitem").filter(has_text="eve approved step things")).to_contain_text("looked at it")


def test_a_log_follows_its_step_and_continues_after_a_lost_connection(
    platform: LocalPlatform, browser: Browser, tmp_path: Path
) -> None:
    platform.bond("promise", "publish", str(ROOT / "tests" / "integration" / "promises" / "held"))
    inputs = ("--set", f"made={tmp_path}/made", "--set", f"until={tmp_path}/go")
    platform.bond("--as", "ada", "service", "request", "held", "payments/slow", "--version", "1.0.0", *inputs)
    page, base = signed_in(platform, browser, "ada")
    page.goto(f"{base}/services/payments/slow/operations/1")
    page.get_by_role("navigation", name="Logs").get_by_role("link", name="things").click(timeout=180_000)
    log = page.get_by_label("Log", exact=True)
    expect(log).to_contain_text("thing_0", timeout=180_000)
    expect(log).not_to_contain_text("Apply complete")
    (tmp_path / "go").touch()
    expect(log).to_contain_text("Apply complete", timeout=180_000)
    platform.bond("operation", "wait", "payments/slow/op/1")
    again = page.request.get(
        f"{base}/services/payments/slow/operations/1/log/live?step=things", headers={"Last-Event-ID": "1"}
    ).text()
    assert "the connection was lost; it continues here" in again
    assert "Apply complete" in again
    page.reload()
    before = log.inner_text()
    assert before.count("Apply complete") == 1
    page.get_by_label("Lines that contain").fill("Apply complete")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".lead")).to_contain_text("1 match")


def test_the_requester_cannot_approve_and_reads_why(platform: LocalPlatform, browser: Browser) -> None:
    platform.bond(
        "--as", "ada", "service", "update", "payments/orders", "--set", "size=medium", "--ask", "--wait", status=5
    )
    ada, base = signed_in(platform, browser, "ada")
    ada.goto(f"{base}/approvals?show=mine")
    inbox = ada.get_by_role("article").filter(has_text="payments/orders")
    expect(inbox).to_contain_text("You asked for this, so another person approves it.")
    inbox.get_by_role("link", name="Read the whole plan").click()
    ada.get_by_role("button", name="Approve this plan").click()
    expect(ada.get_by_role("alert")).to_contain_text("must approve it")
    ada.goto(f"{base}/ledger")
    ada.get_by_role("link", name="Refusals of access").click()
    ada.get_by_label("Code").select_option("VOTE_REFUSED")
    ada.get_by_role("button", name="Show").click()
    expect(ada.get_by_role("row").filter(has_text="payments/orders")).to_contain_text(
        "another person must approve it"
    )


def test_an_operator_patches_a_fleet_and_watches_it(fleet: LocalPlatform, browser: Browser) -> None:
    ada, base = signed_in(fleet, browser, "ada")
    ada.goto(f"{base}/campaigns")
    ada.get_by_label("Campaign file (YAML)").fill(CAMPAIGN)
    ada.get_by_role("button", name="Preview").click()
    expect(ada.get_by_role("heading", name="Preview of patch-servers: 3 targets")).to_be_visible()
    ada.get_by_role("button", name="Start it").click()
    expect(ada).to_have_url(f"{base}/campaigns/patch-servers")
    expect(ada.locator(".lead")).to_contain_text("Waits for approval of wave rest", timeout=180_000)
    expect(ada.get_by_role("link", name="shop/web-0: succeeded")).to_be_visible()
    expect(ada.get_by_label("What it waits for")).to_contain_text("gate wave rest waits for 1 of sre")
    eve, _ = signed_in(fleet, browser, "eve")
    eve.goto(f"{base}/campaigns/patch-servers")
    eve.get_by_label("Vote in the roles").fill("sre")
    eve.get_by_role("button", name="Approve the gate").click()
    expect(ada.locator(".lead")).to_contain_text("Is paused", timeout=180_000)
    expect(ada.get_by_role("link", name="shop/web-1: failed")).to_be_visible()
    expect(ada.locator("#failures-1")).to_contain_text("openssl 3.0.8 has no tls12")
    expect(ada.get_by_label("Failure budget").first).to_contain_text("1 of 0 failures spent")
    ada.get_by_label("to abort").fill("patch-other")
    ada.get_by_role("button", name="Abort", exact=True).click()
    expect(ada.get_by_role("alert")).to_contain_text("the name does not match, so nothing was done")
    ada.goto(f"{base}/campaigns/patch-servers")
    ada.get_by_label("to abort").fill("patch-servers")
    ada.get_by_role("button", name="Abort", exact=True).click()
    expect(ada.locator(".lead")).to_contain_text("Ended aborted", timeout=180_000)
    rows = ada.request.get(f"{base}/campaigns/patch-servers/report?format=csv").text().splitlines()
    assert len(rows) == 1 + 3


def test_by_keyboard_alone_a_campaign_is_started_and_its_failing_canary_stops_it(
    fleet: LocalPlatform, browser: Browser
) -> None:
    fleet.bond("service", "request", "web-server", "shop/web-3", "--version", "1.0.0", "--wait")
    page, base = signed_in(fleet, browser, "ada")
    page.goto(f"{base}/campaigns")
    page.get_by_label("Campaign file (YAML)").focus()
    canary = CAMPAIGN.replace("patch-servers", "canary-fails").replace(
        "labels.ring == 'canary'", "name == 'web-1'"
    )
    page.keyboard.press("Control+a")
    canary = canary.replace('{where: "true"}', "{where: \"name in ['web-1', 'web-3']\"}")
    page.keyboard.insert_text(canary.replace(", gate: {approval: {roles: [sre]}}", ""))
    to_button(page, "Preview")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Preview of canary-fails: 2 targets")).to_be_visible()
    to_button(page, "Start it")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{base}/campaigns/canary-fails")
    expect(page.locator(".lead")).to_contain_text("Is paused", timeout=180_000)
    expect(page.get_by_role("link", name="shop/web-1: failed")).to_be_visible()
    expect(page.get_by_role("link", name="shop/web-3: waiting")).to_be_visible()
    expect(page.get_by_label("Failure budget").first).to_contain_text("1 of 0 failures spent")
    page.get_by_label("to abort").focus()
    page.keyboard.type("canary-fails")
    to_button(page, "Abort")
    page.keyboard.press("Enter")
    expect(page.locator(".lead")).to_contain_text("Ended aborted", timeout=180_000)


def test_an_event_is_on_the_screen_within_a_second(platform: LocalPlatform, browser: Browser) -> None:
    """The quickest of five: what else the machine does meanwhile makes others slower, and none of them quicker."""
    service = "payments/watched"  # of its own: another one may wait for an approval, which its page says first
    platform.bond("service", "request", "sqlite-database", service, "--set", "contact=a@b.c", "--wait")
    page, base = signed_in(platform, browser, "ada")
    page.goto(f"{base}/services/{service}")
    delays = []
    for number in range(5):
        reason = f"event {number}"
        page.evaluate(WATCH, reason)
        ran = platform.bond("service", "pause", service, "--reason", reason, "-o", "json")
        expect(page.locator(".lead")).to_contain_text(reason)
        paused_at = datetime.fromisoformat(json.loads(ran.stdout)["paused_at"]).timestamp()
        delays.append(page.evaluate("window.shownAt") / 1000 - paused_at)
        platform.bond("service", "resume", service)
        expect(page.locator(".lead")).not_to_contain_text(reason)
    assert min(delays) < 1, delays


def test_services_that_are_ticked_become_a_campaign_by_a_form_without_scripts(
    fleet: LocalPlatform, browser: Browser
) -> None:
    ada, base = signed_in(fleet, browser, "ada", java_script_enabled=False)
    ada.goto(f"{base}/services?promise=web-server&label=ring%3Drest&sort=-id")
    assert ada.get_by_role("checkbox").count() == 2
    expect(ada.get_by_role("columnheader", name="service")).to_have_attribute("aria-sort", "descending")
    ada.get_by_label("Tick shop/web-2").check()
    ada.get_by_label("The ticked services").select_option("reconcile")
    ada.get_by_role("button", name="Preview a campaign").click()
    expect(ada.get_by_role("heading", name=": 1 target")).to_be_visible()
    expect(ada.get_by_role("button", name="Start it")).to_have_count(0)
    ada.get_by_label("Name (needed)").fill("check-one")
    ada.get_by_role("button", name="Preview", exact=True).last.click()
    expect(ada.get_by_role("alert")).to_contain_text("reason")
    ada.get_by_label("Reason").fill("somebody changed it by hand")
    ada.get_by_role("button", name="Add a wave").click()
    ada.get_by_role("group", name="Wave 2").get_by_label("Name").fill("quarter")
    ada.get_by_role("group", name="Wave 2").get_by_label("How many, or which").fill("25")
    ada.get_by_role("button", name="Remove wave 1").click()
    expect(ada.get_by_label("Reason")).to_have_value("somebody changed it by hand")
    ada.get_by_role("button", name="Preview", exact=True).last.click()
    ada.get_by_label("Owner").fill("platform")
    ada.get_by_role("button", name="Start it").click()
    expect(ada.get_by_role("alert")).to_contain_text("has changed since its preview, so nothing was started")
    ada.get_by_role("button", name="Start it").click()
    expect(ada).to_have_url(f"{base}/campaigns/check-one")
    report = ada.request.get(f"{base}/campaigns/check-one/report?format=json").json()
    assert [target["service"] for target in report["targets"]] == ["shop/web-2"]
    assert [wave["name"] for wave in report["waves"]] == ["quarter", "rest"]


def test_a_publisher_sees_each_mistake_in_its_place_and_what_a_revision_changes(
    fleet: LocalPlatform, browser: Browser, tmp_path: Path
) -> None:
    directory = server(tmp_path / "uploaded", "1.0.0", "uploaded")
    manifest = directory / "promise.yaml"
    good = manifest.read_text()
    manifest.write_text(good.replace("  steps:", "  stepz:"))
    page, base = signed_in(fleet, browser, "ada")
    page.goto(f"{base}/catalogue")
    page.get_by_role("link", name="Publish a promise").click()
    page.get_by_label("Folder").set_input_files(directory)
    page.get_by_role("button", name="Publish it").click()
    expect(page.get_by_role("alert")).to_contain_text("promise.yaml:15:3")
    manifest.write_text(good)
    page.get_by_label("Folder").set_input_files(directory)
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_role("status")).to_contain_text("uploaded@1.0.0 can be published")
    page.get_by_label("Folder").set_input_files(directory)
    page.get_by_role("button", name="Publish it").click()
    expect(page).to_have_url(f"{base}/catalogue/uploaded?version=1.0.0")
    page.get_by_text("Deprecate or yank 1.0.0").click()
    page.get_by_label("Reason").fill("only a test")
    page.get_by_role("button", name="Deprecate").click()
    expect(page.get_by_role("main")).to_contain_text("deprecated · by platform · only a test")
    page.goto(f"{base}/catalogue/web-server")
    page.get_by_role("link", name="since 1.0.0").click()
    expect(page.locator(".lead")).to_contain_text("2 files differ between 1.0.0 and 1.0.1")
    expect(page.get_by_label("promise.yaml")).to_contain_text("-metadata: {name: web-server, version: 1.0.0")


def test_an_administrator_sees_what_an_access_document_changed_and_what_was_not_delivered(
    fleet: LocalPlatform, browser: Browser, tmp_path: Path
) -> None:
    for role in ("viewer", "developer"):
        file = tmp_path / f"{role}.yaml"
        file.write_text(ACCESS.format(role=role))
        fleet.bond("access", "publish", str(file))
    page, base = signed_in(fleet, browser, "ada")
    page.goto(f"{base}/rules")
    differences = page.get_by_role("link", name="Differences between two access documents")
    while not differences.count():  # the API reads the access document again every few seconds
        page.reload()
    differences.click()
    expect(page.get_by_label("access.yaml")).to_contain_text("-      roles: [viewer]")
    expect(page.get_by_label("access.yaml")).to_contain_text("+      roles: [developer]")
    assert [item["id"] for item in violations_of(page)] == []
    fleet.bond("notification", "create", "nobody", "--url", "http://127.0.0.1:9/", "--kind", "denial")
    page.goto(f"{base}/platform")
    page.get_by_role("link", name="Receivers and deliveries").click()
    page.get_by_role("button", name="Send nobody a test").click()
    delivery = page.get_by_role("row").filter(has_text="test/")
    while not delivery.count():  # visibility lists it a moment later
        page.reload()
    expect(delivery).to_contain_text("nobody")
    expect(delivery).to_contain_text("pending")
    fleet.bond("notification", "delete", "nobody")


def test_a_decommission_asks_for_the_name(platform: LocalPlatform, browser: Browser) -> None:
    page, base = signed_in(platform, browser, "ada")
    page.goto(f"{base}/services/payments/orders")
    page.get_by_text("Decommission", exact=True).first.click()
    page.get_by_label("to confirm").fill("payments/other")
    page.get_by_role("button", name="Decommission", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("the name does not match, so nothing was done")


def test_a_mistake_shows_the_form_again_with_what_was_typed_and_no_secret(
    platform: LocalPlatform, browser: Browser
) -> None:
    page, base = signed_in(platform, browser, "ada")
    page.goto(f"{base}/catalogue/sqlite-database/request")
    page.get_by_label("Team").fill("shop")
    page.get_by_label("Name of the service").fill("wrong")
    page.locator("[name='input.contact']").evaluate("element => { element.removeAttribute('pattern') }")
    page.get_by_label("Contact").fill(HOSTILE)
    page.get_by_label("Administrator's password").fill("canary-of-twelve")
    page.get_by_role("button", name="Request", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("contact")
    assert page.get_by_label("Contact").input_value() == HOSTILE
    assert "canary-of-twelve" not in page.content()


def test_an_expired_session_comes_back_to_the_same_page(platform: LocalPlatform, browser: Browser) -> None:
    url = link(platform, "ada")
    base = url.partition("/sign-in")[0]
    page = page_of(browser, "ada")
    page.goto(url)
    expect(page.get_by_text("Signed in as ada")).to_be_visible()
    assert page.url == f"{base}/"
    page.context.clear_cookies()
    page.goto(f"{base}/services?phase=ready")
    assert page.url == f"{base}/sign-in?next=/services%3Fphase%3Dready"


def test_a_form_of_another_site_changes_nothing(platform: LocalPlatform, browser: Browser) -> None:
    page, base = signed_in(platform, browser, "ada")
    answers = [
        page.request.post(f"{base}/services/payments/orders/do", form={"verb": "pause"}),
        page.request.post(
            f"{base}/services/payments/orders/do", form={"verb": "pause"}, headers={"Sec-Fetch-Site": "cross-site"}
        ),
        page.request.post(
            f"{base}/services/payments/orders/do",
            form={"verb": "pause"},
            headers={"Origin": "https://elsewhere.test"},
        ),
    ]
    assert {answer.status for answer in answers} == {403}
    shown = json.loads(platform.bond("service", "show", "payments/orders", "-o", "json").stdout)
    assert shown["paused_by"] == ""


def test_every_page_is_accessible_small_and_without_an_error_in_the_browsers_console(
    looked_at: LocalPlatform, browser: Browser
) -> None:
    page, base = signed_in(looked_at, browser, "ada")
    page.goto(f"{base}{ORDERS}/operations/1")
    graph = page.get_by_label("Graph of the steps")
    expect(graph.get_by_role("link", name="database: succeeded")).to_have_attribute("href", "#plan-database")
    page.goto(f"{base}/calendar")
    expect(page.get_by_label("To come").get_by_role("row").filter(has_text="audit")).to_contain_text("now")
    style = page.request.get(f"{base}/static/console.css").text()
    assert not re.search(r"display: *none|visibility", style), "what a look hides would need every rule of axe"
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    collected: dict[str, list[str]] = {}
    shown: set[str] = set()
    for path in (*PAGES, "/services/shop/web-0", "/services/shop/web-0/operations/1"):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light")
        answer = page.goto(f"{base}{path}")
        assert answer is not None
        assert answer.status == 200, path
        assert len(answer.body()) < 150_000, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert_harmless(page)
        shown |= {path for words in (HOSTILE, LABEL) if words in page.locator("main").inner_text()}
        for width, scheme, rules in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            violations = violations_of(page, rules)
            collected[f"{path} {scheme}"] = [
                f"{item['id']}: {item['nodes'][0]['html'][:160]}" for item in violations
            ]
            wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wider <= 0, f"{path} scrolls sideways at {width} pixels"
    assert {path: items for path, items in collected.items() if items} == {}
    assert errors == []
    assert shown >= {
        "/catalogue", "/catalogue/web-server/request", "/services", "/campaigns/look", "/calendar",
        "/services/shop/web-0", "/services/shop/web-0/operations/1",
    }  # fmt: skip
    for path in ECHOED:
        page.goto(f"{base}{path}")
        assert_harmless(page)
    assert page.get_by_role("main").inner_text()


def test_a_service_is_requested_and_its_plan_approved_by_keyboard_alone(
    platform: LocalPlatform, browser: Browser
) -> None:
    page, base = signed_in(platform, browser, "ada")
    page.goto(f"{base}/catalogue/sqlite-database/request")
    page.get_by_label("Team").focus()
    page.keyboard.type("shop")
    page.keyboard.press("Tab")
    page.keyboard.type("keys")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "input.contact":
            page.keyboard.type("ada@example.com")
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{base}/services/shop/keys/operations/1")
    expect(page.locator(".lead")).to_contain_text("Succeeded", timeout=180_000)
    platform.bond("--as", "bob", "service", "update", "shop/keys", "--set", "size=medium", "--ask")
    page.goto(f"{base}/services/shop/keys/operations/2")
    expect(page.locator(".lead")).to_contain_text("Waits for approval", timeout=180_000)
    page.goto(f"{base}/approvals?show=roles")
    page.get_by_label("Vote on shop/keys/op/2, step database").get_by_label("Comment").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("You approved step database of shop/keys/op/2")
    expect(page.get_by_label("Vote on shop/keys/op/2, step database")).to_have_count(0)
    page.get_by_role("status").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".lead")).to_contain_text("Succeeded", timeout=180_000)
    expect(page.get_by_role("listitem").filter(has_text="ada approved")).to_contain_text("by keyboard")


def test_a_request_works_without_scripts(platform: LocalPlatform, browser: Browser) -> None:
    page, base = signed_in(platform, browser, "ada", java_script_enabled=False)
    page.goto(f"{base}/catalogue/sqlite-database/request")
    page.get_by_label("Team").fill("shop")
    page.get_by_label("Name of the service").fill("plain")
    page.get_by_label("Contact").fill("ada@example.com")
    page.get_by_role("button", name="Request", exact=True).click()
    assert page.url == f"{base}/services/shop/plain/operations/1"
    platform.bond("operation", "wait", "shop/plain/op/1")
    page.reload()
    expect(page.locator(".lead")).to_contain_text("Succeeded")


def test_a_form_asks_for_more_when_a_choice_needs_it_without_scripts(
    fleet: LocalPlatform, browser: Browser
) -> None:
    page, base = signed_in(fleet, browser, "ada", java_script_enabled=False)
    page.goto(f"{base}/catalogue/web-server/request")
    page.get_by_label("Team").fill("shop")
    page.get_by_label("Name of the service").fill("asked")
    expect(page.get_by_label("Old client")).to_have_count(0)
    page.get_by_label("Protocol").select_option("tls12")
    page.get_by_role("button", name="Request", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("more to fill in: Old client")
    page.get_by_label("Protocol").select_option("tls13")
    page.get_by_role("button", name="Show what these choices ask for").click()
    expect(page.get_by_label("Old client")).to_have_count(0)
    page.get_by_label("Protocol").select_option("tls12")
    page.get_by_role("button", name="Show what these choices ask for").click()
    page.get_by_label("Old client").fill("a printer")
    expect(page.get_by_label("Team")).to_have_value("shop")
    page.get_by_role("button", name="Show the plan first").click()
    assert page.url == f"{base}/services/shop/asked/operations/1"
