"""Each shipped policy: its exact message, on every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bondstone.policy import check_syntax, evaluate, load_modules
from tests.unit.rego_engines import ENGINES, deciding

PROMISES = Path(__file__).parents[2] / "promises"
MAKING = {"operation": {"kind": "provision"}}
PRODUCTION = {**MAKING, "service": {"name": "orders", "labels": {"environment": "production", "tier": "gold"}}}
UNTIERED = "services in production should carry the label `tier` (gold, silver or bronze), for whoever is on call"
TOO_LARGE = (
    "the queue could grow to 2048000000 bytes, and 1073741824 are allowed: ask for fewer or smaller messages"
)
DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": "shop:latest"}]}}},
}


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


@pytest.mark.parametrize(
    ("folder", "document", "messages"),
    [
        (
            "_organisation",
            {**MAKING, "service": {"name": "x", "labels": {}}},
            {"a service needs the label `environment`: one of development, production, staging"},
        ),
        (
            "_organisation",
            {**MAKING, "service": {"name": "x", "labels": {"environment": 'pro"d'}}},
            {'"pro\\"d" is no environment of ours: use one of development, production, staging'},
        ),
        (
            "_organisation",
            {
                "operation": {"kind": "update"},
                "service": {"name": "test-x", "labels": {"environment": "production"}},
                "changes": [{"action": "delete", "address": "aws_db_instance.main"}],
            },
            {
                "aws_db_instance.main would be deleted in production by an operation that is no decommission",
                "services whose name begins with `test-` do not belong in production",
                UNTIERED,
            },
        ),
        (
            "_organisation",
            {**PRODUCTION, "plan": {"resource_changes": [{}] * 201}},
            {"one step may touch 200 resources, and this plan touches 201"},
        ),
        (
            "static-site/policies",
            {**PRODUCTION, "inputs": {"sitemap": True, "address": "http://x", "pages": [{"slug": "index"}]}},
            {
                'a public site map must name https addresses, and "http://x" does not begin with https',
                'the page "index" is the platform\'s own: choose another name',
            },
        ),
        (
            "static-site/policies",
            {**MAKING, "service": {"labels": {"audience": "public"}}, "inputs": {"theme": "plain", "pages": []}},
            {"public sites are easier to read for everybody with the theme high-contrast"},
        ),
        (
            "sqlite-database/policies",
            {
                **PRODUCTION,
                "inputs": {"size": "small", "journal": "delete", "starter": "none"},
                "changes": [{"address": "terraform_data.database", "action": "replace"}],
            },
            {
                "a database in production cannot be small: ask for medium or large",
                "a database in production needs the journal `wal`, or readers wait for writers",
                "there will be no tables but the platform's own, and your own tables have no size limit",
                "the database file would be made anew, and what is in it would be lost",
            },
        ),
        (
            "queue/policies",
            {
                **PRODUCTION,
                "inputs": {
                    "maxMessages": 2000000, "maxMessageBytes": 1024, "deadLetters": False, "retention": "30d",
                },
            },
            {
                TOO_LARGE,
                "a queue in production needs deadLetters, or messages that nobody can handle are lost",
                "messages of a month ago are seldom wanted; is 7d enough?",
            },
        ),
        (
            "host-access/policies",
            {
                **PRODUCTION,
                "inputs": {"login": "root", "people": {"ada": "ssh-dss AAAA", "grace": "ssh-ed25519 AAAA"}},
                "plan": {"partial": True},
            },
            {
                "the key of ada is a DSA key, which no host should take",
                "check mode cannot say what this would do to the host",
                "root of a production host: a second person looks at it",
            },
        ),
        (
            "bucket/policies",
            {
                **PRODUCTION,
                "inputs": {"versioning": False},
                "changes": [
                    {"action": "update", "before": {"spec": {"region": "a"}}, "after": {"spec": {"region": "b"}}}
                ],
            },
            {
                "a bucket in production keeps what is overwritten: versioning stays on",
                "a bucket cannot move to another region: request a new one, and copy",
            },
        ),
        (
            "web-app/policies",
            {**PRODUCTION, "plan": {"manifests": [DEPLOYMENT]}},
            {
                "web runs shop:latest, which is another image tomorrow: name a version",
                "web has one pod: it is away whenever its node is",
            },
        ),
    ],
)  # fmt: skip
def test_a_shipped_policy_says_exactly_this(folder: str, document: dict, messages: set[str]) -> None:
    modules = load_modules(PROMISES / folder)
    assert check_syntax(modules) == []
    assert {finding.message for finding in evaluate(modules, document).findings} == messages


def test_every_shipped_policy_is_here() -> None:
    folders = {path.parent.relative_to(PROMISES).as_posix() for path in PROMISES.rglob("*.rego")}
    here = {
        "_organisation",
        "bucket/policies",
        "host-access/policies",
        "static-site/policies",
        "sqlite-database/policies",
        "queue/policies",
        "web-app/policies",
    }
    assert folders == here
