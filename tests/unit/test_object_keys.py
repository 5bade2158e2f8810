"""Each family of objects has one module that spells its key, so that what is written is what is read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bondstone
from bondstone.model.service import ServiceId
from bondstone.store import object_keys

ROOT = Path(bondstone.__file__).parents[1]
SPELT = ("bondstone/store", "bondstone/client", "bondstone/identity", "activities", "workers")
# What is under one prefix in the store. A name that is a plain word elsewhere counts only with its slash.
FAMILIES = (
    *(
        "access",
        "adopt",
        "archive",
        "bundles",
        "campaign-previews",
        "campaigns",
        "drift",
        "freeze-changes",
        "freezes",
        "key-ids",
    ),
    "kept-answers",
    *("leases", "ledger", "ledger-anchors", "ledger-campaigns", "ledger-index", "ledger-schedules", "logs"),
    *(
        "notifications",
        "plans",
        "platform-keys",
        "policy-sets",
        "revision-status",
        "refusals",
        "revisions",
        "secrets",
    ),
    *("sessions", "sign-ins", "sign-ins-used", "state", "vouched"),
)


def families(source: str) -> Iterator[str]:
    """The families that a module spells: as a constant, or as the beginning of a key."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if "/" in text:
                pass
            case ast.AnnAssign(value=ast.Constant(value=str(text)), annotation=ast.Name(id="Final")):
                pass
            case ast.Call(
                func=ast.Attribute(attr="list" | "startswith"), args=[ast.Constant(value=str(text)), *_]
            ):
                pass
            case _:
                continue
        if text.partition("/")[0] in FAMILIES:
            yield text.partition("/")[0]


def spelling_modules() -> dict[str, set[str]]:
    modules: dict[str, set[str]] = {}
    for folder in SPELT:
        for path in (ROOT / folder).rglob("*.py"):
            for family in families(path.read_text(encoding="utf-8")):
                modules.setdefault(family, set()).add(path.relative_to(ROOT).as_posix())
    return modules


def test_each_family_is_spelt_in_one_module():
    modules = spelling_modules()
    assert {family: places for family, places in modules.items() if len(places) > 1} == {}
    assert {family for family, places in modules.items() if places == {"bondstone/store/object_keys.py"}} > {
        "ledger", "plans", "secrets", "state"
    }  # fmt: skip


@pytest.mark.parametrize(
    "source", ['f"plans/{service}"', 'X: Final = "plans"', 'objects.list("plans")', 'key.startswith("plans/")']
)
def test_a_second_spelling_is_noticed(source):
    assert list(families(source)) == ["plans"]


def test_keys_stay_where_objects_already_are():
    service = ServiceId(team="payments", name="orders")
    name = "20261129T101112.000000Z-000007"
    assert object_keys.plans_of_step(service, 7, "main") == "plans/payments/orders/000007/main"
    assert object_keys.ledger_record(service, name) == f"ledger/2026/11/29/payments/orders/{name}.json"
    assert object_keys.ledger_record("payments/orders", name) == object_keys.ledger_record(service, name)
    assert object_keys.drift_report(service, 7, "main") == "drift/payments/orders/7/main.json"
    assert object_keys.leases(service, "a b") == "leases/payments/orders/a=20b"
