"""What comes of policies and a document: conftest's conventions, ours, and closed when in doubt."""

from __future__ import annotations

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.model.plan import Change, Decision, Finding, PlanRef
from bondstone.model.service import OperationKind, RevisionRef, ServiceId
from bondstone.model.step import PolicyCall
from bondstone.policy import Module, document, evaluate
from bondstone.policy.decide import MAX_FINDINGS, MAX_MESSAGE_CHARACTERS
from bondstone.policy.plan_secrets import sensitive_values
from bondstone.rego.choice import engine
from tests.unit.rego_engines import ENGINES, deciding


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


HEAD = "package main\n\nimport rego.v1\n\n"


def decide(body: str, data: object = None, *, origin: str = "organisation", **more: object) -> Decision:
    return evaluate([Module("a.rego", HEAD + body, origin)], data or {}, **more)


def findings_of(decision: Decision) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in decision.findings]


def test_no_policies_allow() -> None:
    decision = evaluate([], {"a": 1})
    assert (decision.outcome, decision.findings) == ("allow", ())
    assert decision.input_digest
    assert decision.policies_digest


def test_rules_are_found_by_the_names_conftest_gives_them_in_any_package() -> None:
    modules = [
        Module("a.rego", 'package main\ndeny contains "d" if true\nwarn_tags contains "w" if true\n'),
        Module("b.rego", 'package a.b\nviolation contains {"msg": "v", "details": {}} if true\ndenyx := "no"\n'),
        Module("c.rego", 'package p\ndeny_roots contains "r" if true\n', "promise"),
    ]
    decision = evaluate(modules, {})
    assert decision.outcome == "deny"
    assert [(finding.level, finding.message, finding.policy) for finding in decision.findings] == [
        ("deny", "v", "organisation:a.b.violation"),
        ("deny", "d", "organisation:main.deny"),
        ("deny", "r", "promise:p.deny_roots"),
        ("warn", "w", "organisation:main.warn_tags"),
    ]


def test_deny_is_stronger_than_approval_and_approval_than_a_warning() -> None:
    approval = 'approval contains {"msg": "big", "roles": {"dba"}, "count": 2, "expires_seconds": 60} if true\n'
    warn = 'warn contains "w" if true\n'
    assert decide(warn).outcome == "allow"
    decision = decide(warn + approval)
    assert decision.outcome == "approval"
    assert decision.findings[0].roles == ("dba",)
    assert decision.findings[0].count == 2
    assert decision.findings[0].expires_seconds == 60
    assert decide(warn + approval + 'deny contains "d" if true\n').outcome == "deny"


def test_findings_from_elsewhere_count_as_much() -> None:
    finding = Finding(level="approval", message="m", roles=("dba",))
    assert evaluate([], {}, further=[finding]).outcome == "approval"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("deny contains msg if { to_number(input.a) > 1; msg := `x` }", "a.rego:5: "),
        ("deny contains msg if { to_number(input.a) > 1; msg := `x` }", "to_number: "),
        ("deny contains msg if { upper(input.n) == `x`; msg := `x` }", "upper"),
        ("p := 1 if true\np := 2 if true\ndeny contains `x` if p == 1", "conflict"),
        ("deny contains 1 if true", "neither a text"),
        ("warn contains null if true", "neither a text"),
        ('deny contains {"message": "x"} if true', "neither a text"),
        ("deny if true", "holds"),
        ("approval contains {`msg`: `x`, `count`: 0} if true", "count: "),
        ("approval contains {`msg`: `x`, `roles`: `dba`} if true", "roles: "),
        ("approval contains {`msg`: `x`, `count`: true} if true", "count: "),
        ("deny contains msg if { msg := nosuch(1) }", "undefined function nosuch"),
        ("deny contains msg if { msg := ", "a.rego:5"),
        ('deny[msg] { msg := "x" }', "`if` keyword is required"),
        ("deny contains msg if { msg := http.send({}).body }", "http.send"),
    ],
)
def test_what_is_not_understood_denies_and_says_which_policy(body: str, words: str) -> None:
    decision = decide(body, {"a": "q", "n": 1})
    assert decision.outcome == "deny"
    assert words in decision.findings[0].message
    assert decision.findings[0].policy.startswith("organisation")


def test_one_broken_rule_does_not_silence_the_others() -> None:
    decision = decide('deny contains "plain" if true\ndeny_b contains "x" if to_number(input.a) > 1\n', {"a": "q"})
    assert ("deny", "plain") in findings_of(decision)
    assert decision.outcome == "deny"


def test_a_policy_without_end_is_stopped_and_denies_and_the_next_one_is_well() -> None:
    endless = (
        "deny contains `x` if count([1 | some a in numbers.range(1, 9000); some b in numbers.range(1, 9000);"
        " a * b == 7]) > 5\n"
    )
    started = time.monotonic()
    decision = decide(endless, timeout_seconds=0.5)
    assert time.monotonic() - started < 60
    assert decision.outcome == "deny"
    assert "too long" in decision.findings[0].message
    assert decide("deny contains `x` if true").findings[0].message == "x"


def test_a_promise_cannot_change_what_the_organisations_rules_see() -> None:
    organisation = Module("a.rego", HEAD + "exempt if input.x\ndeny contains `no` if not exempt\n")
    promise = Module("b.rego", HEAD + "exempt if true\n", "promise")
    assert evaluate([organisation, promise], {"x": False}).outcome == "deny"


def test_policies_do_not_see_our_environment(monkeypatch) -> None:
    monkeypatch.setenv("CANARY_VARIABLE", "canary-value")
    engine().close()  # so that the next child is made with the variable in our environment
    assert os.environ["CANARY_VARIABLE"]
    decision = decide("deny contains msg if { msg := opa.runtime().env.CANARY_VARIABLE }")
    assert "canary" not in decision.model_dump_json()


def test_what_the_engine_prints_stays_away(capfd) -> None:
    decide("deny contains msg if { msg := ")
    decide('deny contains "x" if print("hello")')
    out, err = capfd.readouterr()
    assert "Pass parse failed" not in out + err
    assert "hello" not in out + err


def test_conftest_users_find_the_plan_where_they_expect_it() -> None:
    body = "deny contains r.address if { some r in input.resource_changes; r.type == `a` }\n"
    data = {"plan": {"resource_changes": [{"type": "a", "address": "a.b"}], "inputs": "mine"}, "inputs": {"x": 1}}
    assert findings_of(decide(body, data)) == [("deny", "a.b")]
    assert findings_of(decide("deny contains `x` if input.inputs.x == 1", data)) == [("deny", "x")]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_comes_back_as_it_went_in(text: str) -> None:
    decision = decide("deny contains msg if { some k, msg in input; k == `t` }", {"t": text})
    assert decision.findings[0].message == " ".join(text.split())[:MAX_MESSAGE_CHARACTERS]


@settings(max_examples=40, deadline=None)
@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=4, max_size=40),
    st.sampled_from(["%s", "x%sx", '{"k": "%s"}']),
)
def test_no_message_repeats_a_secret(secret: str, form: str) -> None:
    body = f"deny contains msg if {{ msg := sprintf(`{form}`, [input.s]) }}\n"
    body += "deny_b contains json.marshal(input) if true"
    decision = decide(body, {"s": secret}, secrets=[secret])
    for finding in decision.findings:
        shown = finding.message.replace("(secret)", "")
        assert secret not in shown
        assert json.dumps(secret)[1:-1] not in shown


def test_messages_are_bounded_in_number_and_length() -> None:
    many = decide("deny contains msg if { some i in numbers.range(1, 300); msg := sprintf(`m%d`, [i]) }")
    assert len(many.findings) == MAX_FINDINGS
    assert "more" in many.findings[-1].message
    long = decide("deny contains msg if { msg := concat(``, [`x` | some _ in numbers.range(1, 4000)]) }")
    assert len(long.findings[0].message) == MAX_MESSAGE_CHARACTERS


def test_approvals_that_are_not_shown_deny() -> None:
    decision = decide("approval contains msg if { some i in numbers.range(1, 200); msg := sprintf(`m%d`, [i]) }")
    assert decision.outcome == "deny"


def test_warnings_beyond_the_bound_do_not_deny() -> None:
    assert decide(
        "warn contains msg if { some i in numbers.range(1, 200); msg := sprintf(`m%d`, [i]) }"
    ).outcome == ("allow")


def call(**more: object) -> PolicyCall:
    revision = RevisionRef(promise="db", version="1.0.0", digest="d")
    values = {
        "service": ServiceId(team="payments", name="orders"),
        "labels": {"tier": "gold"},
        "operation": 3,
        "kind": OperationKind.PROVISION,
        "revision": revision,
        "step": "database",
        "inputs": {"size": "small", "password": {"$secret": "secrets/payments/orders/inputs/password"}},
        "plan": PlanRef(digest="p", key="k"),
    }
    return PolicyCall(**{**values, **more})


def test_the_document_says_all_there_is_and_no_secret() -> None:
    change = Change(address="a.b", action="create", type="a")
    before = RevisionRef(promise="db", version="0.9.0", digest="e")
    result = document(
        call(before=before, before_inputs={"password": {"$secret": "x"}}),
        {"format_version": "1.2"},
        [change],
        "terraform",
    )
    assert result["service"] == {"team": "payments", "name": "orders", "labels": {"tier": "gold"}}
    assert result["promise"] == {"name": "db", "version": "1.0.0", "digest": "d"}
    assert result["operation"]["kind"] == "provision"
    assert result["operation"]["destroy"] is False
    assert result["inputs"] == {"size": "small", "password": "(secret)"}
    assert result["step"] == {"id": "database", "executor": "terraform"}
    assert result["changes"][0]["address"] == "a.b"
    assert result["previous"] == {"promise": "db", "version": "0.9.0", "inputs": {"password": "(secret)"}}
    assert "$secret" not in json.dumps(result)
    assert document(call(), {}, [])["previous"] is None


def test_equal_documents_have_equal_digests() -> None:
    one, other = {"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}
    assert evaluate([], one).input_digest == evaluate([], other).input_digest
    assert evaluate([], one).input_digest != evaluate([], {"a": 2}).input_digest


def test_sensitive_values_of_a_plan_are_found_wherever_they_stand() -> None:
    plan = {
        "resource_changes": [
            {
                "change": {
                    "before": {"old": "s1"},
                    "before_sensitive": {"old": True},
                    "after": {"list": ["x", {"p": "s2"}], "plain": "y"},
                    "after_sensitive": {"list": [False, {"p": True}]},
                }
            }
        ],
        "output_changes": {"pw": {"after": "s3", "after_sensitive": True}},
        "planned_values": {
            "root_module": {"resources": [{"values": {"k": "s4"}, "sensitive_values": {"k": True}}]}
        },
        "prior_state": {"values": {"outputs": {"o": {"value": "s5", "sensitive": True}, "q": {"value": "no"}}}},
    }
    assert sorted(map(str, sensitive_values(plan))) == ["s1", "s2", "s3", "s4", "s5"]
