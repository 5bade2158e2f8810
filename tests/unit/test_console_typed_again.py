"""What a person typed into a form that is refused stands in it again, with the problem beside it."""

import html
import re
from collections import OrderedDict
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from starlette.datastructures import Headers

from bondstone.base.errors import BondError, CampaignInvalid, Forbidden, NotFound, Problem, Refused, VoteStale
from bondstone.client.documents.campaign import CampaignDocument
from bondstone.client.documents.service import OperationDocument
from bondstone.client.documents.step import ApprovalDocument, NeedDocument
from bondstone.console import campaigns, publishing, schedules, services
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.identity import Principal, Roles

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
STRATEGY = "kind: Strategy  # <b>mine</b>\nspec: {waves: []}\n"


def request(**typed: str):
    async def form():
        return {"csrf": "token", **typed}

    return SimpleNamespace(form=form, headers=Headers())


async def nothing(*_arguments, **_options):
    return []


def refusing(error: BondError):
    async def refuse(*_arguments, **_options):
        raise error

    return refuse


def visitor(*roles: str, **bond: object) -> Visitor:
    ada = Principal(subject="ada", means="oidc", grants=(Roles(roles=roles, scope=None),))
    names = ("schedules", "freezes", "campaigns", "policies", "services", "operations", "approvals", "promises")
    empty = dict.fromkeys(names, nothing)
    parts = {name: SimpleNamespace(**{"list": read, **bond.get(name, {})}) for name, read in empty.items()}
    return Visitor(
        ada, permissions_of(Access(), ada), "token", bond=SimpleNamespace(**parts), note=lambda _error: None
    )


def filled(page: str) -> dict[str, str]:
    """The fields of the forms on a page that hold something."""
    areas = re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', page)
    inputs = re.findall(r'<input(?![^>]*type="hidden")[^>]* name="([^"]+)"[^>]* value="([^"]+)"', page)
    return {name: html.unescape(value) for name, value in [*areas, *inputs]}


def problem_before(page: str, field: str) -> str:
    """The problem that is said in an opened part of the page, before one of its fields."""
    [part] = [part for part in re.findall(r"<details.*?</details>", page, re.DOTALL) if f'name="{field}"' in part]
    assert part.startswith('<details class="card" open>')
    return html.unescape(part.partition('role="alert"')[2].partition("</section>")[0])


async def test_a_strategy_that_is_refused_stands_in_its_form_again():
    typed = {"name": "nightly", "cron": "0 22 * * *", "time_zone": "Europe/London", "reason": "CVE"}
    error = CampaignInvalid("the strategy is not right", problems=[Problem(message="it has no waves")])
    who = visitor("admin", schedules={"create": refusing(error)})
    answer = await schedules.create(request(**typed, strategy=STRATEGY.replace("\n", "\r\n")), who)
    page = answer.body.decode()
    assert answer.status_code == error.http_status
    assert typed.items() <= filled(page).items()
    assert filled(page)["strategy"].replace("\r\n", "\n") == STRATEGY
    assert "it has no waves" in problem_before(page, "strategy")
    assert "<b>mine" not in page


@pytest.mark.parametrize("hours", ["9", "many"])
async def test_a_freeze_that_is_refused_stands_in_its_form_again(hours):
    typed = {
        "name": "audit", "reason": "year's end", "team": "shop", "exempt": "EMG", "hours": hours,
        "begins": "2026-12-24T10:00",
    }  # fmt: skip
    who = visitor("admin", freezes={"create": refusing(Refused("there is one of that name"))})
    page = (await schedules.create_freeze(request(**typed), who)).body.decode()
    assert typed.items() <= filled(page).items()
    problem = problem_before(page, "exempt")
    assert ("there is one of that name" if hours == "9" else "number of hours") in problem


async def test_an_access_document_that_is_refused_stands_in_its_form_again():
    async def access():
        return SimpleNamespace(document=None, version=0)

    async def current():
        return None

    state = SimpleNamespace(
        settings=SimpleNamespace(admins=()),
        store=SimpleNamespace(access=SimpleNamespace(current=current)),
        authenticator=SimpleNamespace(access=access),
    )
    source = "apiVersion: bondstone.dev/v1\nkind: Access\nspec: {grants: 7}\n"
    answer = await publishing.access(request(source=source), visitor("admin"), state)
    page = answer.body.decode()
    assert answer.status_code >= 400
    assert filled(page)["source"] == source
    assert "access.yaml:3" in problem_before(page, "source")


async def test_who_may_not_read_the_page_is_told_the_problem():
    who = visitor("admin", schedules={"create": refusing(Refused("no"))})
    decide = who.permissions.decide

    def without_reading(verb, *target):
        if verb == "schedule.read":
            return SimpleNamespace(allowed=False, require=refusing(Forbidden("no")))
        return decide(verb, *target)

    blind = SimpleNamespace(
        permissions=SimpleNamespace(decide=without_reading), bond=who.bond, csrf="token", name="ada"
    )
    with pytest.raises(Refused):
        await schedules.create(request(name="x"), blind)


def giving(value):
    async def give(*_arguments, **_options):
        return value

    return give


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


async def test_a_plan_that_waits_is_shown_where_nothing_was_typed():
    gone = {"get": refusing(NotFound("there is none"))}
    operations = {"get": giving(waiting_operation()), "plans": nothing}
    who = visitor("viewer", "approver:dba", services=gone, promises=gone, operations=operations)
    page = (await services.operation_view(who, "shop/cart/op/2")).html(who)
    assert 'name="digest" value="bbbb' in page
    assert 'name="comment" maxlength="500" value=""' in page


@pytest.mark.parametrize("back", ["", "/approvals?show=roles"])
async def test_the_comment_of_a_vote_that_is_refused_stands_beside_the_plan_that_waits_now(back):
    stale = VoteStale("the plan has changed since you read it")
    gone = {"get": refusing(NotFound("there is none"))}
    operation = waiting_operation()
    who = visitor(
        "viewer", "approver:dba", approvals={"approve": refusing(stale)}, services=gone, promises=gone,
        operations={"get": giving(operation), "plans": nothing},
    )  # fmt: skip
    typed = {"vote": "approve", "step": "database", "digest": "a" * 64, "comment": 'the size is "right"'}
    answer = await services.vote(request(**typed, back=back), who, "shop", "cart", 2)
    page = answer.body.decode()
    assert answer.status_code == stale.http_status
    assert filled(page)["comment"] == typed["comment"]
    assert "the plan has changed since you read it" in page.partition('<div id="live">')[0]
    assert ('href="/approvals?show=roles"' in page) == bool(back)
    assert 'name="digest" value="bbbb' in page


async def test_what_was_typed_for_a_verb_of_a_campaign_that_is_refused_stands_there_again(monkeypatch):
    document = CampaignDocument(
        name="cve", status="running", requested_by="dana", targets=3, targets_digest="c" * 64, wave="rest",
        max_concurrent=2, counts={"waiting": 2}, running=1, flights=(), failures=(), skipped={}, awaits=(),
        waves=(), failed=0,
    )  # fmt: skip
    report = CampaignReport(
        name="cve", status="running", operation="patch", reason="cve", requested_by="ada", as_of=NOON, counts={},
        failures=0, rules={}, started_at=NOON, waves=(), targets=(),
    )  # fmt: skip
    monkeypatch.setattr(campaigns, "_reports", OrderedDict())
    bond = {"get": giving(document), "report": giving(report), "skip": refusing(Refused("it is no target"))}
    typed = {"reason": "it is down", "service": "shop/cart", "most": "7"}
    page = (
        await campaigns.act(request(verb="skip", **typed), visitor("admin", campaigns=bond), "cve")
    ).body.decode()
    assert typed.items() <= filled(page).items()
    assert "it is no target" in page.partition('<div id="live">')[0]
    unconfirmed = request(verb="abort", confirm="cvs", **typed)
    page = (await campaigns.act(unconfirmed, visitor("admin", campaigns=bond), "cve")).body.decode()
    assert typed.items() <= filled(page).items()
    assert "confirm" not in filled(page), "it is to be typed anew"
