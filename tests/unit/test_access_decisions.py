"""Who may do what: the table of verbs, scopes, subjects, and the words of a refusal."""

import re
from pathlib import Path

import pytest

from bondstone.base.errors import AccessInvalid, Forbidden, InvalidInput
from bondstone.identity.access import PLATFORM, Access, decide, permissions_of, votes_as
from bondstone.identity.document import read_access
from bondstone.identity.verbs import VERBS
from bondstone.model.identity import ADMIN, ROLES, Principal, Roles, Scope, Subject, Target

ADA = Principal(subject="ada@example.com", means="oidc", issuer="https://id.example.com", groups=("payments",))
ORDERS = Target(team="payments", promise="postgres", labels={"env": "prod"}, name="payments/orders-db")
SHOP = Target(team="shop", promise="postgres", labels={"env": "prod"}, name="shop/cart")

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "access.md"


def access(*grants: str) -> Access:
    text = "apiVersion: bondstone.dev/v1\nkind: Access\nspec:\n  grants:\n" + "".join(f"  - {g}\n" for g in grants)
    return Access(read_access(text.encode(), "access.yaml", needs_admin=False).require())


def granted(role: str, scope: str = "everything") -> Access:
    return access(f"{{subjects: [{{user: ada@example.com}}], roles: ['{role}'], scope: {scope}}}")


def documented() -> dict[str, set[str]]:
    """Verb to roles as the page of the docs says."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head = next(line for line in lines if line.startswith("| verb |"))
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    table = {}
    for line in lines[lines.index(head) + 2 :]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        table[cells[0].strip("`")] = {role for role, cell in zip(columns[3:], cells[3:], strict=True) if cell}
    return table


@pytest.mark.parametrize("role", ROLES)
def test_every_verb_with_every_role_is_as_the_docs_say(role):
    table = documented()
    assert set(table) == set(VERBS)
    written = "approver:dba" if role == "approver" else role
    for verb, rule in VERBS.items():
        decision = decide(granted(written), ADA, verb, ORDERS)
        assert decision.allowed == (role in table[verb]), verb
        if not decision.allowed:
            assert rule.needs() in decision.message
            with pytest.raises(Forbidden) as refusal:
                decision.require()
            assert refusal.value.http_status == 403


@pytest.mark.parametrize("verb", [verb for verb in VERBS.values() if verb.where == "scope"], ids=lambda v: v.name)
def test_a_role_counts_only_inside_its_scope(verb):
    role = verb.roles[0] if verb.roles else ADMIN
    role = "approver:dba" if role == "approver" else role
    rules = granted(role, "{teams: [payments]}")
    assert decide(rules, ADA, verb.name, ORDERS).allowed
    assert not decide(rules, ADA, verb.name, SHOP).allowed
    assert not decide(rules, ADA, verb.name, PLATFORM).allowed


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        ("{teams: [payments, shop]}", True),
        ("{promises: [postgres]}", True),
        ("{labels: {env: prod}}", True),
        ("{teams: [payments], promises: [queue]}", False),
        ("{teams: [payments], labels: {env: staging}}", False),
        ("{labels: {env: prod, tier: gold}}", False),
        ("everything", True),
    ],
)
def test_a_scope_is_the_meeting_of_what_it_names(scope, inside):
    rules = granted("developer", scope)
    assert decide(rules, ADA, "service.update", ORDERS).allowed is inside
    assert permissions_of(rules, ADA).filter("service.update")(ORDERS) is inside


@pytest.mark.parametrize(
    ("subject", "principal", "fits"),
    [
        ("user: ada@example.com", ADA, True),
        ("user: ada@example.com", ADA.changed(means="token"), False),
        ("group: payments", ADA, True),
        ("group: shop", ADA, False),
        ("anyone: true", ADA, True),
        ("token: ci", Principal(subject="token:ci", means="token"), True),
        ("token: ci", Principal(subject="token:ci", means="oidc", issuer="https://id.example.com"), False),
        ("token: ci", Principal(subject="token:cd", means="token"), False),
    ],
)
def test_subjects(subject, principal, fits):
    rules = access(f"{{subjects: [{{{subject}}}], roles: [viewer], scope: everything}}")
    assert decide(rules, principal, "service.read", ORDERS).allowed is fits


def test_a_claim_counts_only_of_its_issuer_and_a_list_must_contain_it():
    claim = "claim: {issuer: 'https://ci.example.com', name: repository, value: acme/orders}"
    rules = access(f"{{subjects: [{{{claim}}}], roles: [developer], scope: everything}}")
    job = Principal(
        subject="job", means="workload", issuer="https://ci.example.com", claims={"repository": "acme/orders"}
    )
    assert decide(rules, job, "service.request", ORDERS).allowed
    listed = job.changed(claims={"repository": ["acme/a", "acme/orders"]})
    assert decide(rules, listed, "service.request", ORDERS).allowed
    part = job.changed(claims={"repository": "acme/orders-evil"})
    assert not decide(rules, part, "service.request", ORDERS).allowed
    foreign = job.changed(issuer="https://evil.example.com")
    assert not decide(rules, foreign, "service.request", ORDERS).allowed


def test_nobody_has_what_no_document_grants():
    for verb in VERBS:
        assert not decide(Access(), ADA, verb, ORDERS).allowed
    assert decide(Access(admins=(Subject(group="payments"),)), ADA, "access.publish").allowed


def test_many_targets_are_all_or_nothing_and_none_are_the_platform():
    permissions = permissions_of(granted("operator", "{teams: [payments]}"), ADA)
    assert permissions.decide_all("campaign.run", [ORDERS]).allowed
    refused = permissions.decide_all("campaign.run", [ORDERS, SHOP])
    assert not refused.allowed
    assert "shop/cart" in refused.message
    assert not permissions.decide_all("campaign.run", []).allowed


def test_a_vote_carries_only_roles_that_hold_for_the_target():
    rules = access(
        "{subjects: [{user: ada@example.com}], roles: [approver:dba, approver:sre], scope: {teams: [payments]}}",
        "{subjects: [{user: ada@example.com}], roles: [approver:security], scope: {teams: [shop]}}",
    )
    decision = decide(rules, ADA, "approval.approve", ORDERS).require()
    assert votes_as(decision) == ("dba", "sre")
    assert votes_as(decision, ["sre"]) == ("sre",)
    with pytest.raises(Forbidden, match="approver:security"):
        votes_as(decision, ["security"])
    admin = decide(granted("admin"), ADA, "approval.approve", ORDERS).require()
    assert votes_as(admin) == ()


def test_a_token_gets_no_more_than_its_creator_has():
    permissions = permissions_of(granted("developer", "{teams: [payments]}"), ADA)
    fits = Roles(roles=("developer",), scope=Scope(teams=("payments",), promises=("queue",)))
    wider = Roles(roles=("developer",), scope=Scope(promises=("queue",)))
    everywhere = Roles(roles=("developer",), scope=None)
    other = Roles(roles=("operator",), scope=Scope(teams=("payments",)))
    assert permissions.may_grant([fits]) is None
    assert permissions.may_grant([fits, wider]) == wider
    assert permissions.may_grant([everywhere]) == everywhere
    assert permissions.may_grant([other]) == other
    assert permissions_of(granted("admin"), ADA).may_grant([everywhere, other]) is None


def test_an_unknown_verb_is_named_with_one_that_is_near():
    with pytest.raises(InvalidInput) as refusal:
        decide(granted("admin"), ADA, "service.updat", ORDERS)
    assert "service.update" in refusal.value.hint


BROKEN = """\
apiVersion: bondstone.dev/v1
kind: Access
spec:
  grants:
    - subjects: [{user: ada}]
      roles: [developer, admn]
      scope: {team: [payments]}
    - subjects: [{user: x, group: y}]
      roles: []
      scope: everythin
    - subjects: []
      roles: [viewer]
"""


def test_every_mistake_of_a_document_is_told_with_its_place():
    problems = [str(problem) for problem in read_access(BROKEN.encode(), "access.yaml").problems]
    expected = [
        r"access.yaml:6:26: .*'?admn'? is not a role; roles are viewer, .*approver:<role>",
        r"access.yaml:7:15: unknown key 'team' \(did you mean 'teams'\?\)",
        r"access.yaml:8:18: .*exactly one of user, group, token, claim and anyone",
        r"access.yaml:9:14: .*name at least one",
        r"access.yaml:10:14: .*everythin is not a scope",
        r"access.yaml:11:17: .*name at least one",
        r"access.yaml:11:7: 'scope' is missing",
    ]
    assert len(problems) == len(expected)
    for words in expected:
        assert any(re.search(words, problem) for problem in problems), (words, problems)


def test_a_document_that_locks_everybody_out_is_refused():
    text = b"apiVersion: bondstone.dev/v1\nkind: Access\nspec: {grants: []}\n"
    with pytest.raises(AccessInvalid) as refusal:
        read_access(text, "access.yaml").require()
    assert "nobody is an administrator" in str(refusal.value)
    assert read_access(text, "access.yaml", needs_admin=False).require().spec.grants == ()
    anyone = (
        b"apiVersion: bondstone.dev/v1\nkind: Access\nspec:\n  grants:\n"
        b"  - {subjects: [{anyone: true}], roles: [admin], scope: everything}\n"
    )
    assert "anyone who signs in" in str(read_access(anyone, "access.yaml").problems)


@pytest.mark.parametrize("empty", ["", " null", " ~"])
def test_an_empty_scope_is_refused_and_never_means_everywhere(empty):
    text = (
        "apiVersion: bondstone.dev/v1\nkind: Access\nspec:\n  grants:\n"
        f"    - subjects: [{{group: x}}]\n      roles: [admin]\n      scope:{empty}\n"
    )
    outcome = read_access(text.encode(), "access.yaml", needs_admin=False)
    assert outcome.document is None
    (problem,) = map(str, outcome.problems)
    assert "access.yaml:7:7" in problem
    assert "the scope is empty" in problem
    assert "`scope: everything`" in problem
