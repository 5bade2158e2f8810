"""Drift and who uses a promise, as Home, the list of services and the catalogue show them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bondstone.api.index.services import ServiceIndex
from bondstone.base.models import changed_copy
from bondstone.client.documents.promise import PromiseDocument, VersionDocument
from bondstone.console import catalogue, fleet, overview
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles, Scope
from harness.light_api import Listed, a_service


def drifted(name: str, objects: int, **fields: object):
    listed = a_service(name, **fields)
    return changed_copy(listed, {"row": replace(listed.row, drift=objects)})


def visitor(scope: Scope | None = None) -> Visitor:
    dana = Principal(subject="dana", means="oidc", grants=(Roles(roles=("admin",), scope=scope),))
    permissions = permissions_of(Access(), dana)

    async def none():
        return []

    async def promises():
        return [
            SimpleNamespace(promise=name, version="1.0.0", title="", owner="platform")
            for name in ("queue", "topic")
        ]

    async def promise(name, _version=""):
        versions = [VersionDocument(version=each, status="active") for each in ("1.1.0", "1.0.0")]
        return PromiseDocument(
            promise=name, version="1.1.0", digest="d" * 64, status="active", title="", owner="", versions=versions
        )

    bond = SimpleNamespace(
        approvals=SimpleNamespace(list=none),
        campaigns=SimpleNamespace(list=none),
        promises=SimpleNamespace(list=promises, get=promise),
    )
    return Visitor(dana, permissions, "token", bond=bond, note=print)


@pytest.fixture
async def state() -> SimpleNamespace:
    services = [
        drifted("shop/cart", 2),
        drifted("maps/tiles", 1),
        a_service("shop/pay"),
        *(a_service(f"team-{number}/one") for number in range(6)),
    ]
    index = ServiceIndex(Listed(services))
    await index.relist()
    return SimpleNamespace(services=index)


async def text(answer) -> str:
    return " ".join(bytes(answer.body).decode().split())


async def test_home_names_what_has_drifted_and_links_to_all_of_it(state):
    page = await text(await overview.home(visitor(), state))
    assert "no service needs attention; 2 have drifted." in page
    assert '<a href="/services/shop/cart">shop/cart</a></td><td>1.0.0</td><td class="number">2</td>' in page
    assert '<a href="/services?drift=found">' in page


async def test_home_shows_nobody_the_drift_of_services_that_they_may_not_see(state):
    page = await text(await overview.home(visitor(Scope(teams=("shop",))), state))
    assert "1 has drifted." in page
    assert "maps/tiles" not in page


async def test_home_names_no_more_than_a_page_holds_of_what_has_drifted():
    index = ServiceIndex(Listed([drifted(f"shop/cart-{number:03}", 1) for number in range(300)]))
    await index.relist()
    page = await text(await overview.home(visitor(), SimpleNamespace(services=index)))
    assert "300 have drifted" in page
    assert page.count('<a href="/services/shop/cart-') == overview.MAX_TROUBLED
    assert "All that have drifted" in page


async def test_the_list_of_services_is_filtered_by_drift(state):
    page = await text(await fleet.services(visitor(), state, fleet.listing(drift="found")))
    assert "9 services, 2 match." in page
    assert "2 drifted" in page
    assert "shop/pay" not in page
    assert '<option value="found" selected>found (2)</option>' in page


async def test_the_catalogue_names_the_teams_that_use_a_promise(state):
    page = await text(await catalogue.catalogue(visitor(), state))
    assert 'Used by <a href="/services?promise=queue&amp;team=shop">shop</a> (2), ' in page
    assert '<a href="/services?promise=queue">3 more teams</a>' in page
    assert page.count("&amp;team=") == catalogue.MAX_USERS
    assert page.count("Used by") == 1  # nobody uses the other one
    shop = await text(await catalogue.catalogue(visitor(Scope(teams=("shop",))), state))
    assert 'team=shop">shop</a> (2).' in shop
    assert "maps" not in shop


async def test_a_promise_says_which_teams_are_on_which_version():
    services = [a_service(f"shop/{number}") for number in range(2)] + [a_service("maps/tiles")]
    rows = [{"revision": f"queue@{version}"} for version in ("1.0.0", "1.0.0", "1.1.0")]
    index = ServiceIndex(
        Listed(
            [
                changed_copy(each, {"row": replace(each.row, **row)})
                for each, row in zip(services, rows, strict=True)
            ]
        )
    )
    await index.relist()
    page = await text(await catalogue.show(visitor(), SimpleNamespace(services=index), "queue"))
    assert '>2</a> <span class="dim">of shop (2)</span>' in page
    assert '>1</a> <span class="dim">of maps (1)</span>' in page
    of_shop = visitor(Scope(teams=("shop",), promises=()))
    assert "maps" not in await text(await catalogue.show(of_shop, SimpleNamespace(services=index), "queue"))
