"""An export of the ledger is whole, or refused before anything is sent."""

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from bondstone.base.errors import BondError, Forbidden, InvalidInput
from bondstone.console import ledger
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import ServiceId

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
SERVICE = ServiceId(team="shop", name="cart")


def visitor(*roles: str) -> Visitor:
    eve = Principal(subject="eve", means="oidc", grants=(Roles(roles=roles, scope=None),) if roles else ())
    return Visitor(eve, permissions_of(Access(), eve), "csrf", bond=None, note=print)


def record(number: int) -> LedgerRecord:
    return LedgerRecord(
        kind="pause", service=SERVICE, sequence=f"op-{number}", at=NOON + timedelta(seconds=number), by="ada"
    )


class Ledger:
    def __init__(self, number: int):
        self._records = [record(number) for number in range(number)]

    async def history(self, _service):
        return self._records

    async def days(self, _first, _last, *, team):  # noqa: ARG002 - as the store's
        for each in self._records:
            yield each


async def exported(who: Visitor, number: int, service: str = "") -> list[dict]:
    state = SimpleNamespace(store=SimpleNamespace(ledger=Ledger(number)))
    wanted = ledger.Search(service, "", "", "", date(2026, 11, 1), date(2026, 11, 30))
    answer = await ledger.export(who, state, wanted)
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.mark.parametrize("service", ["", "shop/cart"])
async def test_an_export_has_every_record_that_matches(service):
    assert len(await exported(visitor("admin"), 3, service)) == 3


@pytest.mark.parametrize(
    ("who", "service", "refusal"),
    [
        (visitor("admin"), "", InvalidInput),
        (visitor(), "shop/cart", Forbidden),
        (visitor("admin"), "no service", BondError),
    ],
)
async def test_an_export_is_refused_before_anything_is_sent(monkeypatch, who, service, refusal):
    monkeypatch.setattr(ledger, "MAX_READ", 2)
    state = SimpleNamespace(store=SimpleNamespace(ledger=Ledger(3)))
    wanted = ledger.Search(service, "", "", "", date(2026, 11, 1), date(2026, 11, 30))
    with pytest.raises(refusal):
        await ledger.export(who, state, wanted)
