"""The public client: what it exports, that every noun has one shape, and that each verb says what it takes."""

import inspect
import re

import pytest

import bondstone.client
from bondstone.client import Bondstone, Operation
from bondstone.client.direct.client import DirectClient

NOUNS = {
    "access": {"validate", "publish", "list", "get"},
    "approvals": {"list", "approve", "reject"},
    "campaigns": {
        *("validate", "preview", "run", "list", "get", "wait", "report", "pause", "resume", "abort", "skip"),
        *("set_concurrency", "next_wave", "approve", "reject", "retry", "rollback"),
    },
    "freezes": {"create", "update", "list", "get", "delete"},
    "logs": {"list", "read"},
    "ledger": {"verify", "anchor", "export"},
    "operations": {"list", "get", "plans", "cancel", "wait"},
    "policies": {"publish", "list", "get", "check"},
    "promises": {"validate", "test", "publish", "list", "get", "deprecate", "yank"},
    "schedules": {
        *("create", "update", "list", "get", "history", "pause", "resume", "trigger", "backfill", "delete"),
    },
    "services": {
        *("list", "get", "outputs", "history", "list_archive", "read_archive", "wait", "request", "adopt"),
        *("update", "patch", "upgrade", "rollback", "reconcile", "decommission", "retry", "cancel", "pause"),
        *("resume", "abandon", "set_labels"),
    },
    "state": {"pull", "push", "log"},
    "workers": {"list", "promote", "evict", "queues"},
}
"""What programs use: a verb that leaves this list breaks them."""

EXPORTED = {
    *(
        "AccessRules",
        "Approvals",
        "Bondstone",
        "Campaigns",
        "Freezes",
        "Ledger",
        "Logs",
        "Operation",
        "Operations",
        "Policies",
        "Promises",
    ),
    *("RequestOptions", "Schedules", "Services", "State", "Workers", "connect"),
}


def interface(noun: str) -> type:
    return getattr(bondstone.client, {"access": "AccessRules"}.get(noun, noun.capitalize()))


def verbs(kind: type) -> dict[str, object]:
    return {
        name: result for name, result in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")
    }


def test_the_exported_names_are_these():
    assert set(bondstone.client.__all__) == EXPORTED
    assert all(hasattr(bondstone.client, name) for name in EXPORTED)


@pytest.mark.parametrize("noun", NOUNS)
def test_the_verbs_of_each_noun_are_these(noun):
    assert set(verbs(interface(noun))) == NOUNS[noun]


def test_the_client_has_these_nouns():
    nouns = {name for name, result in inspect.getmembers(Bondstone) if isinstance(result, property)}
    assert nouns == set(NOUNS)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_transport_takes_what_the_interface_says(noun):
    func = getattr(DirectClient, noun).func
    direct = type(func(DirectClient.of(by="ada")))
    assert not inspect.isabstract(direct)
    for name, verb in verbs(interface(noun)).items():
        assert inspect.signature(getattr(direct, name)) == inspect.signature(verb), f"{noun}.{name}"


@pytest.mark.parametrize("kind", [*(interface(noun) for noun in NOUNS), Operation], ids=lambda kind: kind.__name__)
def test_every_verb_describes_each_of_its_arguments(kind):
    missing = []
    for name, verb in verbs(kind).items():
        text = inspect.getdoc(verb) or ""
        assert text, f"{kind.__name__}.{name}"
        if re.search(r"(?i)arguments as for `|; see `", text):
            continue
        described = set(re.findall(r"^ {4}(\w+): ", text, flags=re.MULTILINE))
        wanted = set(inspect.signature(verb).parameters) - {"self"}
        missing += [f"{kind.__name__}.{name}: {argument}" for argument in sorted(wanted - described)]
    assert missing == []


@pytest.mark.parametrize("kind", [*(interface(noun) for noun in NOUNS), Operation], ids=lambda kind: kind.__name__)
def test_every_verb_says_what_it_returns_and_what_it_raises(kind):
    for name, verb in verbs(kind).items():
        text = inspect.getdoc(verb) or ""
        if inspect.signature(verb).return_annotation not in {None, "None"}:
            assert re.search(r"^Returns:\n {4}\S", text, flags=re.MULTILINE), f"{kind.__name__}.{name}"
        assert re.search(r"^Raises:\n {4}\w+(, \w+)*: ", text, flags=re.MULTILINE), f"{kind.__name__}.{name}"


@pytest.mark.parametrize("verb", [Bondstone.acting_as, Bondstone.operation, bondstone.client.connect])
def test_what_makes_clients_and_handles_says_what_it_takes_and_returns(verb):
    text = inspect.getdoc(verb) or ""
    described = set(re.findall(r"^ {4}(\w+): ", text, flags=re.MULTILINE))
    assert described >= set(inspect.signature(verb).parameters) - {"self"}
    assert re.search(r"^Returns:\n {4}\S", text, flags=re.MULTILINE)


def test_the_same_person_acts_until_another_is_named():
    bond = DirectClient.of(by="ada")
    assert (bond.by, bond.acting_as("grace").by) == ("ada", "grace")
    assert bond.acting_as("grace").connection is bond.connection
