"""Policies see no secret of a plan unless they say that they need them; and no secret switches a rule off."""

from __future__ import annotations

import json

import pytest

from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.kubernetes.changes import change
from bondstone.base.redact import Redactor
from bondstone.model.plan import Decision
from bondstone.policy import Module, evaluate
from bondstone.policy.modules import NEEDS_SECRETS, check_syntax
from bondstone.policy.plan_secrets import masked_marks
from tests.unit.rego_engines import ENGINES, deciding

HEAD = "package main\n\nimport rego.v1\n\n"
SEEING = f"{NEEDS_SECRETS}\n{HEAD}"
TELLS = (
    'warn contains sprintf("%s is %s", [name, value]) if some name, value in input.plan.resource.change.after\n'
)
OPEN = 'deny contains "open to all" if input.plan.resource.change.after.cidr == "0.0.0.0/0"\n'
PLAN = {
    "configuration": {"root_module": {"variables": {"key": {"sensitive": True}, "size": {}}}},
    "variables": {"key": {"value": "k-marked"}, "size": {"value": "small"}},
    "resource": {
        "change": {
            "before": None,
            "after": {"cidr": "0.0.0.0/0", "password": "p-marked", "inner": {"token": "t-marked", "name": "web"}},
            "before_sensitive": False,
            "after_sensitive": {"password": True, "inner": {"token": True}},
        }
    },
    "planned_values": {"outputs": {"key": {"sensitive": True, "value": "o-marked"}}},
}


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


def decide(source: str, *secrets: str, origin: str = "promise") -> Decision:
    return evaluate([Module("a.rego", source, origin)], {"plan": PLAN}, secrets=secrets)


def messages(decision: Decision) -> set[str]:
    return {finding.message for finding in decision.findings}


def test_what_the_tool_marks_is_masked_and_nothing_else() -> None:
    masked = json.dumps(masked_marks(PLAN))
    assert "-marked" not in masked
    assert masked.count("(secret)") == 4
    for plain in ("0.0.0.0/0", "web", "small"):
        assert plain in masked


def test_policies_see_masked_values() -> None:
    rule = HEAD + 'warn contains "seen" if input.plan.resource.change.after.password == "p-marked"\n'
    assert decide(rule).findings == ()
    assert decide(rule).saw_secrets == ()


@pytest.mark.parametrize("origin", ["organisation", "promise"])
def test_policies_that_need_secrets_see_them_and_the_decision_says_so(origin: str) -> None:
    rule = SEEING + 'deny contains "weak" if input.plan.resource.change.after.password == "p-marked"\n'
    decision = decide(rule, "p-marked", origin=origin)
    assert (decision.outcome, decision.saw_secrets) == ("deny", (origin,))


def test_what_one_set_needs_the_other_does_not_get() -> None:
    rule = "warn contains input.plan.resource.change.after.password if true\n"
    modules = [Module("a.rego", SEEING + rule), Module("b.rego", HEAD + rule, "promise")]
    result = {finding.policy: finding.message for finding in evaluate(modules, {"plan": PLAN}).findings}
    assert result == {"organisation:main.warn": "p-marked", "promise:main.warn": "(secret)"}


def test_a_known_secret_is_masked_where_nothing_marks_it() -> None:
    decision = decide(HEAD + TELLS, "0.0.0.0/0")
    assert "cidr is (secret)" in messages(decision)
    assert "0.0.0.0/0" not in decision.model_dump_json()


def test_a_secret_that_is_chosen_to_be_what_a_rule_forbids_switches_it_off_for_nobody() -> None:
    assert messages(decide(HEAD + OPEN)) == {"open to all"}
    decision = decide(HEAD + OPEN, "0.0.0.0/0")
    assert decision.outcome == "deny"
    assert messages(decision) == {
        "promise:main.deny objects to a value that shows a secret, so its message is withheld"
    }


def test_what_is_found_both_times_is_told_once_and_in_words() -> None:
    rule = HEAD + 'deny contains "always" if input.plan.resource\n'
    assert messages(decide(rule, "0.0.0.0/0")) == {"always"}


def test_an_approval_that_only_the_second_look_finds_keeps_its_roles() -> None:
    rule = HEAD + OPEN.replace(
        'deny contains "open to all"', 'approval contains {"msg": "open", "roles": ["net"]}'
    )
    [finding] = decide(rule, "0.0.0.0/0").findings
    assert (finding.level, finding.roles) == ("approval", ("net",))


MANIFESTS = {
    "manifests": [
        {"apiVersion": "v1", "kind": "Secret", "data": {"key": "aHVudGVyMi1odW50ZXIy"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {"image": "evil.example/miner:1", "replicas": 1234},
        },
    ]
}
BY_CHANGES = 'deny contains "image" if startswith(input.changes[_].after.spec.image, "evil.example/")\n'
BY_MANIFESTS = 'deny contains "image" if startswith(input.plan.manifests[_].spec.image, "evil.example/")\n'
BY_NUMBER = 'deny contains "many" if input.changes[_].after.spec.replicas == 1234\n'


def by_changes(source: str, *secrets: str) -> Decision:
    """What is decided about a Kubernetes step whose executor has masked some secrets in its change set."""
    redact, objects = Redactor(secrets), MANIFESTS["manifests"]
    kinds = [Ref(api_version="v1", kind=str(item["kind"]), namespace="n", name="x") for item in objects]
    changes = [change(ref, "create", None, item, redact) for ref, item in zip(kinds, objects, strict=True)]
    shown = [item.model_dump(mode="json", exclude={"fingerprints"}) for item in changes]
    return evaluate(
        [Module("a.rego", source)], {"plan": MANIFESTS, "changes": shown}, secrets=secrets, changes=changes
    )


@pytest.mark.parametrize(
    ("rule", "secrets"),
    [
        (BY_CHANGES, ["evil.example/miner:1"]),
        (BY_CHANGES, ["evil.example", "miner"]),
        (BY_CHANGES, ["evil"]),
        (BY_MANIFESTS, ["evil.example/miner:1"]),
        (BY_NUMBER, ["1234"]),
    ],
)
def test_a_chosen_secret_switches_no_rule_over_change_sets_and_manifests_off(
    rule: str, secrets: list[str]
) -> None:
    assert by_changes(HEAD + rule).outcome == "deny"
    decision = by_changes(HEAD + rule, *secrets)
    assert decision.outcome == "deny"
    assert messages(decision) == {
        "organisation:main.deny objects to a value that shows a secret, so its message is withheld"
    }


def test_what_a_kubernetes_secret_holds_is_masked_in_both_looks() -> None:
    for where in ("input.changes[_].after", "input.plan.manifests[_]"):
        source = f'{HEAD}deny contains "seen" if {where}.data.key != "(secret)"\n'
        assert by_changes(source, "evil.example/miner:1").outcome == "allow"
    told = by_changes(HEAD + "warn contains input.plan.manifests[_].data.key if true\n", "evil.example/miner:1")
    assert messages(told) == {"(secret)"}
    needing = by_changes(
        f'{SEEING}deny contains "seen" if input.plan.manifests[_].data.key == "aHVudGVyMi1odW50ZXIy"\n'
    )
    assert needing.outcome == "deny"


@pytest.mark.parametrize("wrong", ["# bondstone: need-secrets", "# Bondstone: needs secrets", "#bondstone: x"])
def test_an_instruction_that_is_none_is_refused(wrong: str) -> None:
    [problem] = check_syntax([Module("a.rego", f'{HEAD}{wrong}\ndeny contains "x" if false\n')])
    assert (problem.line, problem.file) == (5, "a.rego")
    assert NEEDS_SECRETS in problem.hint
