"""People whose roles hold for a team see and do on the pages what the API lets them, and nothing else."""

import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from bondstone.api.campaign_access import campaign_target, on_every_target
from bondstone.api.routes.campaigns import PreviewBody, preview_campaign
from bondstone.base.errors import CampaignInvalid, Forbidden
from bondstone.campaign.fleet import FleetService
from bondstone.client.documents.campaign import CampaignDocument, CampaignRow, FreezeDocument
from bondstone.client.documents.schedule import MissDocument, ZonedTime
from bondstone.console import catalogue, schedules
from bondstone.console.campaigns import campaigns, new_campaign
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, Permissions, permissions_of
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.identity import ROLES, Principal, Roles, Scope, Target

NOW = datetime.now(UTC)
SHOP = Scope(teams=("shop",))
SERVICES = SimpleNamespace(services=SimpleNamespace(get=lambda _name: None))
"""A process whose index has none of the services yet."""


def who(*roles: str, scope: Scope | None = SHOP) -> Permissions:
    return permissions_of(
        Access(), Principal(subject="dana", means="oidc", grants=(Roles(roles=roles, scope=scope),))
    )


def posted(*more: tuple[str, str], **fields: str) -> Request:
    async def receive() -> dict[str, object]:
        items = [("csrf", "token"), *fields.items(), *more]
        return {"type": "http.request", "body": urlencode(items).encode()}

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    return Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive
    )


def campaign(owner: str, status: str = "running") -> CampaignDocument:
    return CampaignDocument(
        name=f"cve-{owner}", status=status, requested_by="eve", targets=3, targets_digest="c" * 64, wave="rest",
        max_concurrent=2, counts={"waiting": 2, "succeeded": 1}, running=1, flights=(), failures=(), skipped={},
        awaits=(), waves=(), failed=1, owner=owner, promise="queue",
    )  # fmt: skip


def row(owner: str) -> CampaignRow:
    return CampaignRow(
        name=f"cve-{owner}",
        status="running",
        promise="queue",
        revision="",
        owner=owner,
        started_at=NOW,
        ended_at=None,
    )


class Campaigns:
    """Campaigns of two teams; keeps which verbs arrived."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    async def list(self):
        return [row("shop"), row("maps")]

    async def get(self, name):
        return campaign(name.removeprefix("cve-"))

    async def report(self, name, **_options):
        return CampaignReport(
            name=name, status="running", operation="patch", reason="cve", requested_by="eve", as_of=NOW, counts={},
            failures=0, rules={}, started_at=NOW, waves=(), targets=(),
        )  # fmt: skip

    async def pause(self, name, **_options):
        self.verbs.append("pause")
        return await self.get(name)

    async def preview(self, source, file, **options):
        return await self.preview_among(None, source, file, **options)

    async def preview_among(self, sees, source, _file, **_options):
        names = source.decode().split()
        fleet = [FleetService(id=name, promise="queue", version="", phase="ready") for name in names]
        shown = tuple(SimpleNamespace(service=each.id) for each in fleet if sees is None or sees(each))
        if any(each.service == "broken/one" for each in shown):
            raise CampaignInvalid("the campaign is not valid")
        return SimpleNamespace(selected=shown, targets=len(shown), scope="" if sees is None else "those you see")


def visitor(permissions: Permissions, **nouns: object) -> Visitor:
    bond = SimpleNamespace(**{"campaigns": Campaigns(), **nouns})
    return Visitor(permissions.principal, permissions, "token", bond=bond, note=lambda _error: None)


@pytest.fixture(autouse=True)
def no_reports(monkeypatch):
    monkeypatch.setattr(campaigns, "_reports", OrderedDict())


async def test_the_list_of_campaigns_has_those_of_the_visitors_teams():
    page = (await campaigns._list(dana := visitor(who("viewer")), "")).html(dana)
    assert "/campaigns/cve-shop" in page
    assert "cve-maps" not in page
    page = (await campaigns._list(eve := visitor(who("viewer", scope=None)), "")).html(eve)
    assert "/campaigns/cve-maps" in page


async def test_who_starts_no_campaign_has_no_button_that_does():
    for role in ROLES:
        name = f"{role}:dba" if role == "approver" else role
        page = (await campaigns._list(dana := visitor(who(name)), "")).html(dana)
        assert ('value="run"' in page) == (role in {"operator", "admin"}), role


@pytest.mark.parametrize("role", ROLES)
async def test_a_campaign_has_the_buttons_that_the_api_lets_its_reader_press(role):
    dana = visitor(who(f"{role}:dba" if role == "approver" else role))
    page = (await campaigns.campaign_view(dana, "cve-shop")).html(dana)
    buttons = set(re.findall(r'name="verb" value="([^"]+)"', page))
    target = campaign_target(campaign("shop"))
    assert buttons == {
        verb
        for verb, _ in campaigns.VERBS
        if campaigns.fits(campaign("shop"), verb)
        and dana.permissions.decide(campaigns._permission(verb), target).allowed
    }
    assert bool(buttons) == (role in {"operator", "admin"})
    with pytest.raises(Forbidden):
        await campaigns.campaign_view(dana, "cve-maps")


async def test_an_operator_of_a_team_pauses_its_campaign_and_no_other():
    dana = visitor(who("operator"))
    answer = await campaigns.act(posted(verb="pause"), dana, "cve-shop")
    assert (answer.status_code, dana.bond.campaigns.verbs) == (303, ["pause"])
    with pytest.raises(Forbidden, match="operator"):
        await campaigns.act(posted(verb="pause"), dana, "cve-maps")
    assert dana.bond.campaigns.verbs == ["pause"]


async def test_the_page_after_a_verb_says_once_what_the_verb_did_and_did_not_touch():
    dana = visitor(who("operator"))
    touched = campaign("shop").changed(effect=("takes back 2 succeeded", "1 <refused> stays as it is"))
    path, _, query = campaigns.to_campaign(touched).headers["location"].partition("?done=")
    assert path == "/campaigns/cve-shop"
    page = bytes((await campaigns.campaign(dana, "cve-shop", done=query)).body).decode()
    assert "takes back 2 succeeded" in page.partition('<div id="live">')[0]
    assert "1 &lt;refused&gt; stays" in page
    again = bytes((await campaigns.campaign(dana, "cve-shop", done=query)).body).decode()
    assert "takes back" not in again
    assert campaigns.to_campaign(campaign("shop")).headers["location"] == "/campaigns/cve-shop"


async def test_a_campaign_starts_where_its_starter_is_operator_of_every_target():
    bond = visitor(who("operator")).bond
    for source, allowed in (("shop/cart shop/pay", True), ("shop/cart maps/tiles", False), ("", False)):
        file = {"source": source.encode(), "file": "c.yaml"}
        decision = await on_every_target(SERVICES, who("operator"), bond, "campaign.run", **file)
        assert decision.allowed == allowed
        assert not (await on_every_target(SERVICES, who("viewer"), bond, "campaign.run", **file)).allowed


async def test_a_refused_campaign_names_no_service_that_its_starter_may_not_see():
    bond = visitor(who("operator")).bond
    seeing = permissions_of(
        Access(),
        Principal(
            subject="dana",
            means="oidc",
            grants=(Roles(roles=("operator",), scope=SHOP), Roles(roles=("viewer",), scope=None)),
        ),
    )
    for source, permissions, named in (
        ("shop/cart maps/tiles", who("operator"), "services outside your access"),
        ("shop/cart broken/one", who("operator"), "services outside your access"),  # not right by that one alone
        ("shop/cart maps/tiles", seeing, "maps/tiles"),
    ):
        decision = await on_every_target(
            SERVICES, permissions, bond, "campaign.run", source=source.encode(), file="c.yaml"
        )
        assert (decision.allowed, str(decision.target)) == (False, named)


async def test_who_has_no_role_previews_no_campaign():
    body = PreviewBody(source="shop/cart maps/tiles")
    bond = visitor(who("viewer")).bond
    reader = SimpleNamespace(allowed=who("viewer"), state=SERVICES, bond=bond)
    preview = await preview_campaign(reader, body)
    assert ([each.service for each in preview.selected], preview.targets) == (["shop/cart"], 1)
    assert preview.scope
    everything = SimpleNamespace(allowed=who("viewer", scope=None), state=SERVICES, bond=bond)
    whole = await preview_campaign(everything, body)
    assert (whole.targets, whole.scope) == (2, "")
    nobody = permissions_of(Access(), Principal(subject="dana", means="oidc"))
    with pytest.raises(Forbidden, match="viewer"):
        await preview_campaign(SimpleNamespace(allowed=nobody, state=SERVICES, bond=bond), body)


async def test_ticked_services_that_the_visitor_may_not_see_tell_nothing_of_their_promise():
    teams = {"shop/cart": "queue", "maps/tiles": "postgres"}
    entries = {
        name: SimpleNamespace(
            row=SimpleNamespace(promise=promise), target=Target(team=name.partition("/")[0], name=name)
        )
        for name, promise in teams.items()
    }
    state = SimpleNamespace(services=SimpleNamespace(get=entries.get))
    nouns = {"promises": SimpleNamespace(list=no_promises), "campaigns": SimpleNamespace(preview_among=refused)}
    dana, eve = visitor(who("operator"), **nouns), visitor(who("operator", scope=None), **nouns)
    request = [("service", name) for name in teams]
    pages = [
        bytes((await new_campaign.selected(posted(*request), who_asks, state)).body) for who_asks in (dana, eve)
    ]
    assert [b"postgres" in page for page in pages] == [False, True]


async def no_promises():
    return []


async def refused(*_arguments, **_options):
    raise CampaignInvalid("the campaign is not valid")


class Freezes:
    """A freeze of each of two teams, and one of the platform; keeps which are made and ended."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    async def list(self):
        return [self.freeze(team) for team in ("shop", "maps", "")]

    async def get(self, name):
        return self.freeze(name.removeprefix("of-"))

    async def create(self, _name, *, team, **_options):
        self.done.append(("create", team))

    async def delete(self, name):
        self.done.append(("delete", name))

    @staticmethod
    def freeze(team: str) -> FreezeDocument:
        return FreezeDocument(
            name=f"of-{team}",
            reason="audit",
            by="eve",
            team=team,
            exempt=(),
            begins_at=NOW,
            ends_at=NOW + timedelta(hours=1),
        )


async def no_schedules():
    return []


async def test_the_calendar_says_when_a_run_was_missed_and_why_and_which_runs_only_wait():
    def at(minute: int) -> ZonedTime:
        return ZonedTime(utc=NOW.replace(minute=minute), local={"Asia/Kathmandu": f"17:{minute}"})

    schedule = SimpleNamespace(
        name="nightly", paused=False, note="", cron="@daily", time_zone="Asia/Kathmandu", operation="patch",
        promise="queue", next=(), runs=(), windows={}, missed=3, waiting=(at(9), at(10)),
        misses=(MissDocument(at=at(8), why="late"), MissDocument(at=at(7), why="paused")),
    )  # fmt: skip
    nouns = SimpleNamespace(list=giving([schedule]), get=giving(schedule))
    eve = visitor(who("viewer", scope=None), freezes=SimpleNamespace(list=no_schedules), schedules=nouns)
    page = (await schedules._view(eve)).html(eve)
    assert "2 due, waiting for the run that is not over" in page
    assert "<summary>3 missed</summary>" in page
    assert f"{NOW:%Y-%m-%d %H}:08 UTC, 17:8: late" in page
    assert "bond schedule show nightly" in page


def giving(value):
    async def answer(*_arguments):
        return value

    return answer


async def test_an_operator_of_a_team_declares_and_ends_its_freezes_and_no_others():
    dana = visitor(who("operator"), freezes=Freezes(), schedules=SimpleNamespace(list=no_schedules))
    page = (await schedules._view(dana)).html(dana)
    assert re.findall(r'action="/calendar/freezes/([^/"]+)/delete"', page) == ["of-shop"]
    assert re.findall(
        r"<option[^>]*>([^<]*)</option>", page.partition('id="z-team"')[2].partition("</select>")[0]
    ) == ["shop"]
    typed = {"name": "of-shop", "reason": "audit", "hours": "8"}
    assert (await schedules.create_freeze(posted(**typed, team="shop"), dana)).status_code == 303
    assert (await schedules.delete_freeze(posted(), dana, "of-shop")).status_code == 303
    for team in ("maps", ""):
        with pytest.raises(Forbidden):
            await schedules.create_freeze(posted(**typed, team=team), dana)
        with pytest.raises(Forbidden):
            await schedules.delete_freeze(posted(), dana, f"of-{team}")
    assert dana.bond.freezes.done == [("create", "shop"), ("delete", "of-shop")]


async def test_who_declares_no_freeze_has_no_form_for_one():
    for role in ("viewer", "developer"):
        dana = visitor(who(role), freezes=Freezes(), schedules=SimpleNamespace(list=no_schedules))
        page = (await schedules._view(dana)).html(dana)
        assert "Create a freeze" not in page
        assert "/delete" not in page


@pytest.mark.parametrize(
    ("scope", "teams"),
    [
        (None, None),
        (SHOP, ("shop",)),
        (Scope(promises=("queue",)), None),
        (Scope(promises=("postgres",)), ()),
        (Scope(teams=("shop", "maps"), promises=("queue",)), ("maps", "shop")),
        (Scope(teams=("shop",), labels={"tier": "dev"}), ()),
    ],
)
def test_a_promise_is_requested_for_the_teams_that_a_grant_names(scope, teams):
    permissions = who("developer", scope=scope)
    assert permissions.teams("service.request", "queue") == teams
    assert who("viewer", scope=scope).teams("service.request", "queue") == ()
    for team in ("shop", "maps", "ops"):
        may = permissions.decide("service.request", Target(team=team, promise="queue")).allowed
        assert may == (teams is None or team in teams)
    assert catalogue._may_request(visitor(permissions), "queue") == (teams != ())
