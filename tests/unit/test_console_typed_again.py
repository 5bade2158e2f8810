"""What a person typed into a form that is refused stands in it again, with the problem beside it."""

import html
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI

from bondstone.api import problems
from bondstone.base.errors import BondError, CampaignInvalid, NotFound, Problem, Refused, VoteStale
from bondstone.client.documents.campaign import CampaignDocument
from bondstone.client.documents.schedule import ScheduleDocument
from bondstone.client.documents.service import OperationDocument
from bondstone.client.documents.step import ApprovalDocument, NeedDocument
from bondstone.console import app as console
from bondstone.console import session
from bondstone.console.campaigns import campaigns
from bondstone.console.refill import PAGE, refilled
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.identity import Principal, Roles

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
STRATEGY = "kind: Strategy  # <b>mine</b>\nspec: {waves: []}\n"
SITE = "http://platform"
VISITOR = session.visitor


async def nothing(*_arguments, **_options):
    return []


def refusing(error: BondError):
    async def refuse(*_arguments, **_options):
        raise error

    return refuse


def giving(value):
    async def give(*_arguments, **_options):
        return value

    return give


def visitor(*roles: str, **bond: object) -> Visitor:
    ada = Principal(subject="ada", means="oidc", grants=(Roles(roles=roles, scope=None),))
    names = ("schedules", "freezes", "campaigns", "policies", "services", "operations", "approvals", "promises")
    empty = dict.fromkeys(names, nothing)
    parts = {name: SimpleNamespace(**{"list": read, **bond.get(name, {})}) for name, read in empty.items()}
    return Visitor(
        ada, permissions_of(Access(), ada), "token", bond=SimpleNamespace(**parts), note=lambda _error: None
    )


def schedule(name: str) -> ScheduleDocument:
    return ScheduleDocument(
        name=name, cron="0 1 * * *", time_zone="UTC", overlap="skip", jitter_seconds=0, catch_up_seconds=60,
        paused=False, note="", strategy="", operation="patch", promise="queue", requested_by="eve",
        created_by="eve", reason="", created_at=NOON, updated_at=None, next=(), running=(), runs=(), misses=(),
        missed=0, skipped_for_overlap=0, missed_catch_up=0, acts=(),
    )  # fmt: skip


def process() -> SimpleNamespace:
    """An API process without services, in whose store nothing is published."""

    async def ready():
        return None

    return SimpleNamespace(
        settings=SimpleNamespace(admins=()),
        services=SimpleNamespace(ready=ready, get=lambda _name: None),
        store=SimpleNamespace(access=SimpleNamespace(current=giving(None))),
        authenticator=SimpleNamespace(access=giving(SimpleNamespace(document=None, version=0))),
        refusals=SimpleNamespace(note=lambda *_arguments: None),
    )


@pytest.fixture
def browser(monkeypatch):
    """What opens the console for a visitor."""

    @asynccontextmanager
    async def opened(who: Visitor) -> AsyncIterator[httpx2.AsyncClient]:
        app = FastAPI(openapi_url=None)
        app.state.bondstone = process()
        problems.install(app)
        console.mount(app)
        app.dependency_overrides[VISITOR] = lambda: who
        monkeypatch.setattr(session, "visitor", giving(who))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url=SITE) as client:
            yield client

    monkeypatch.setattr(campaigns, "_reports", OrderedDict())
    return opened


async def sent(client: httpx2.AsyncClient, page: str, action: str, **typed: str | list[str]) -> httpx2.Response:
    """Send a form from a page."""
    return await client.post(action, data={"csrf": "token", **typed}, headers={"Referer": SITE + page})


def filled(page: str) -> dict[str, str]:
    """The fields of the forms on a page that hold something."""
    areas = re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>\n?([^<]*)</textarea>', page)
    inputs = [tag for tag in re.findall(r"<input[^>]*>", page) if 'type="hidden"' not in tag]
    values = [(re.search(r'name="([^"]+)"', tag), re.search(r'\svalue="([^"]+)"', tag)) for tag in inputs]
    texts = [(name[1], value[1]) for name, value in values if name and value]
    return {name: html.unescape(value) for name, value in [*areas, *texts]}


def problem_before(page: str, field: str) -> str:
    """The problem that is said in an opened part of the page, before one of its fields."""
    [part] = [part for part in re.findall(r"<details.*?</details>", page, re.DOTALL) if f'name="{field}"' in part]
    assert re.match(r"<details[^>]* open>", part)
    return html.unescape(part.partition('role="alert"')[2].partition("</section>")[0])


async def test_a_strategy_that_is_refused_stands_in_its_form_again(browser):
    typed = {"name": "nightly", "cron": "0 22 * * *", "time_zone": "Europe/London", "reason": "CVE"}
    error = CampaignInvalid("the strategy is not right", problems=[Problem(message="it has no waves")])
    async with browser(visitor("admin", schedules={"create": refusing(error)})) as client:
        strategy = STRATEGY.replace("\n", "\r\n")
        answer = await sent(client, "/calendar", "/calendar/schedules", **typed, strategy=strategy)
        assert answer.status_code == error.http_status
        page = answer.text
        assert typed.items() <= filled(page).items()
        assert filled(page)["strategy"].replace("\r\n", "\n") == STRATEGY
        assert "it has no waves" in problem_before(page, "strategy")
        assert "<b>mine" not in page
        # and once more from there, where the address is that of the form
        [path] = set(re.findall(rf'name="{PAGE}" value="([^"]+)"', page))
        again = await sent(client, "/calendar/schedules", "/calendar/schedules", name="weekly", **{PAGE: path})
        assert filled(again.text)["name"] == "weekly"


@pytest.mark.parametrize("hours", ["9", "many"])
async def test_a_freeze_that_is_refused_stands_in_its_form_again(browser, hours):
    typed = {
        "name": "audit", "reason": "year's end", "team": "shop", "exempt": "EMG", "hours": hours,
        "begins": "2026-12-24T10:00",
    }  # fmt: skip
    async with browser(
        visitor("admin", freezes={"create": refusing(Refused("there is one of that name"))})
    ) as client:
        page = (await sent(client, "/calendar", "/calendar/freezes", **typed)).text
    assert typed.items() <= filled(page).items()
    problem = problem_before(page, "exempt")
    assert ("there is one of that name" if hours == "9" else "number of hours") in problem


async def test_the_verb_of_a_schedule_that_is_refused_stands_in_the_form_of_that_schedule(browser):
    async def get(name: str) -> ScheduleDocument:
        return schedule(name)

    listed = [schedule("nightly"), schedule("weekly")]
    who = visitor(
        "admin", schedules={"list": giving(listed), "get": get, "update": refusing(Refused("no such cron"))}
    )
    async with browser(who) as client:
        answer = await sent(
            client, "/calendar", "/calendar/schedules/weekly", verb="update", cron="61 * * * *", confirm="weekly"
        )
    nightly, weekly = re.findall(
        r"<details><summary>More.*?</details>|<details open>.*?</details>", answer.text, re.DOTALL
    )
    assert (filled(nightly)["cron"], filled(weekly)["cron"]) == ("0 1 * * *", "61 * * * *")
    assert "no such cron" in problem_before(answer.text.replace(nightly, ""), "begin")
    assert "confirm" not in filled(answer.text), "it is to be typed anew"


async def test_an_access_document_that_is_refused_stands_in_its_form_again(browser):
    source = "apiVersion: bondstone.dev/v1\nkind: Access\nspec: {grants: 7}\n"
    async with browser(visitor("admin")) as client:
        answer = await sent(client, "/rules", "/rules/access", source=source)
    assert answer.status_code >= 400
    assert filled(answer.text)["source"].replace("\r\n", "\n") == source
    assert "access.yaml:3" in problem_before(answer.text, "source")


async def test_a_page_that_is_not_the_visitors_to_read_is_not_shown(browser):
    for page in ("/ledger/refusals", "//elsewhere/calendar", "/static/console.css", "/nowhere"):
        async with browser(visitor("developer")) as client:
            answer = await sent(client, page, "/calendar/schedules", name="nightly")
        assert (answer.status_code, "nightly" in answer.text) == (403, False)
        assert "schedule.create on" in html.unescape(answer.text)


async def test_a_form_of_another_site_is_not_filled_in(browser):
    async with browser(visitor("admin")) as client:
        answer = await client.post("/calendar/schedules", data={"csrf": "guessed", "name": "nightly"},
                                   headers={"Referer": f"{SITE}/calendar"})  # fmt: skip
    assert answer.status_code == 403
    assert "nightly" not in answer.text


def waiting_operation() -> OperationDocument:
    """One whose plan waits for a vote."""
    waits = ApprovalDocument(
        operation="shop/cart/op/2", step="database", digest="b" * 64, status="waiting", kind="update",
        revision="postgres@1.0.0", requested_by="eve", asked_at=NOON, needs=(NeedDocument(roles=("dba",)),),
        missing=("1 of dba",), votes=(),
    )  # fmt: skip
    return OperationDocument(
        id="shop/cart/op/2", service="shop/cart", kind="update", status="awaiting-approval",
        revision="postgres@1.0.0", requested_by="eve", requested_at=NOON, approvals=(waits,),
    )  # fmt: skip


@pytest.mark.parametrize("page", ["/services/shop/cart/operations/2", "/approvals?show=all"])
async def test_the_comment_of_a_vote_that_is_refused_stands_beside_the_plan_that_waits_now(browser, page):
    stale = VoteStale("the plan has changed since you read it")
    gone = {"get": refusing(NotFound("there is none"))}
    operation = waiting_operation()
    who = visitor(
        "viewer", "approver:dba", approvals={"approve": refusing(stale), "list": giving([operation.approvals[0]])},
        services=gone, promises=gone, operations={"get": giving(operation), "plans": nothing},
    )  # fmt: skip
    typed = {"vote": "approve", "step": "database", "digest": "a" * 64, "comment": 'the size is "right"'}
    async with browser(who) as client:
        answer = await sent(client, page, "/services/shop/cart/operations/2/vote", **typed)
    assert answer.status_code == stale.http_status
    assert filled(answer.text)["comment"] == typed["comment"]
    assert "the plan has changed since you read it" in answer.text
    assert "the plan has changed since you read it" not in answer.text.partition('<div id="live">')[2]
    assert 'name="digest" value="bbbb' in answer.text, "a vote is about the plan that is on the page"


async def test_what_was_typed_for_a_verb_of_a_campaign_that_is_refused_stands_there_again(browser):
    document = CampaignDocument(
        name="cve", status="running", requested_by="dana", targets=3, targets_digest="c" * 64, wave="rest",
        max_concurrent=2, counts={"waiting": 2}, running=1, flights=(), failures=(), skipped={}, awaits=(),
        waves=(), failed=0,
    )  # fmt: skip
    report = CampaignReport(
        name="cve", status="running", operation="patch", reason="cve", requested_by="ada", as_of=NOON, counts={},
        failures=0, rules={}, started_at=NOON, waves=(), targets=(),
    )  # fmt: skip
    bond = {"get": giving(document), "report": giving(report), "skip": refusing(Refused("it is no target"))}
    typed = {"reason": "it is down", "service": "shop/cart", "most": "7"}
    async with browser(visitor("admin", campaigns=bond)) as client:
        page = (await sent(client, "/campaigns/cve", "/campaigns/cve/do", verb="skip", **typed)).text
        assert typed.items() <= filled(page).items()
        assert "it is no target" in page.partition('<div id="live">')[0]
        wrong = {"verb": "abort", "confirm": "cvs", **typed}
        page = (await sent(client, "/campaigns/cve", "/campaigns/cve/do", **wrong)).text
    assert typed.items() <= filled(page).items()
    assert "confirm" not in filled(page), "it is to be typed anew"


PAGE_OF_FORMS = """<main id="main">
<form method="post" action="/do"><input type="hidden" name="verb" value="pause"><input name="reason"></form>
<details><summary>x</summary><details class="card"><form method="post" action="/do">
<input type="hidden" name="verb" value="update"><input name="reason" value="old">
<input name="password" type="password">
<textarea class="secret" name="key"></textarea><select name="size"><option value="">-</option>
<option value="s" selected>small</option><option>large</option></select>
<input type="checkbox" name="tick" value="a&amp;b"><input type="checkbox" name="tick" value="c" checked></form>
</details></details></main>"""


def test_the_form_is_told_by_its_own_values_and_no_secret_is_put_back():
    typed = [("verb", "update"), ("reason", 'a "b" <c>'), ("password", "s3cr3t"), ("key", "s3cr3t"),
             ("size", "large"), ("tick", "a&b")]  # fmt: skip
    page = refilled(PAGE_OF_FORMS, "/do", typed, Refused("no <b>"), "/page?x=1&y=2")
    first, second = re.findall(r"<form.*?</form>", page, re.DOTALL)
    assert filled(first) == {}
    assert filled(second)["reason"] == 'a "b" <c>'
    assert "s3cr3t" not in page
    assert "<option selected>large" in second
    assert "selected>small" not in second
    assert re.findall(r'checked[^>]* value="([^"]+)"', second) == ["a&amp;b"]
    assert page.count(" open>") == 2
    assert "no &lt;b&gt;" in second
    assert page.count(f'name="{PAGE}" value="/page?x=1&amp;y=2"') == 2


def test_a_problem_stands_on_a_page_whose_form_has_gone():
    page = refilled(PAGE_OF_FORMS, "/elsewhere", [("reason", "x")], Refused("it has ended"), "/page")
    assert page.index("it has ended") < page.index("<form")


@pytest.mark.parametrize(
    "address", ["/catalogue/queue/takes/x", "/services?label=a&from=b&limit=0&sort=" + "x" * 30]
)
async def test_a_mistake_in_the_address_of_a_page_is_a_page_in_words(browser, address):
    async with browser(visitor("admin")) as client:
        answer = await client.get(address, headers={"Accept": "text/html"})
    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"].startswith("text/html")
    assert 'role="alert"' in answer.text
