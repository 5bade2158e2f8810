"""`bond access`, `token`, `attest` and `ledger` against a platform on which attestations are required."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, refused, running
from temporalio.client import WorkflowUpdateFailedError

from bondstone.base import names
from bondstone.temporal.connection import connect

pytestmark = pytest.mark.integration

ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
metadata: {reason: the first one}
spec:
  grants:
    - subjects: [{group: platform}]
      roles: [admin]
      scope: everything
    - subjects: [{token: deploy}]
      roles: [operator]
      scope: everything
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("identity") / "data", {"BOND_ATTESTATION": "required"}) as platform:

        async def prepare() -> None:
            async with platform.client() as bond:
                await publish(bond, PROMISES / "patient")

        asyncio.run(prepare())
        yield platform


def as_token(
    local: LocalPlatform, token: str, *arguments: str, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """A command as a program with an API token runs it, on a machine without the data directory."""
    other = LocalPlatform(
        local.data.parent / "nothing-here", {"BOND_API": local.settings.api, "BOND_TOKEN": token}
    )
    return other.bond(*arguments, status=status)


def test_an_access_document_is_validated_published_shown_and_asked(local, tmp_path):
    file = tmp_path / "access.yaml"
    file.write_text(ACCESS.replace("[operator]", "[operater]"))
    error = refused(local.bond("access", "validate", str(file), "-o", "json", status=2), "ACCESS_INVALID")
    assert error["problems"][0]["line"] == 10
    file.write_text(ACCESS)
    assert "2 grants" in local.bond("access", "validate", str(file)).stdout
    assert local.bond("access", "publish", str(file)).stdout.startswith("published access document 1 sha256:")
    assert local.bond("access", "publish", str(file)).stdout.startswith("unchanged access document 1")
    assert local.bond("access", "show").stdout == ACCESS
    assert json.loads(local.bond("access", "list", "-o", "json").stdout)[0]["reason"] == "the first one"
    assert "may access.publish" in local.bond("access", "can", "access.publish").stdout


def test_whoami_says_who_the_platform_takes_the_caller_for(local):
    asserted = json.loads(local.bond("--as", "grace", "whoami", "-o", "json").stdout)
    assert (asserted["name"], asserted["source"], asserted["proven"]) == ("grace", "--as", False)
    made = local.bond("token", "create", "--name", "asked", "--role", "developer", "--team", "payments")
    token = made.stdout.strip()
    shown = json.loads(as_token(local, token, "--as", "grace", "whoami", "-o", "json").stdout)
    assert (shown["name"], shown["proven"]) == ("token:asked", True), "what --as claims proves nothing"
    assert shown["roles"][0].startswith("developer in ")
    refused(as_token(local, "bond_wrong_token", "whoami", "-o", "json", status=4), "TOKEN_INVALID")


def test_a_token_has_its_roles_is_listed_and_ends(local):
    made = local.bond(
        "token", "create", "--name", "ci", "--role", "developer", "--team", "payments", "--expires", "90d"
    )
    token = made.stdout.strip()
    assert token.startswith("bond_")
    assert "not shown again" in made.stderr
    service = f"payments/svc-{uuid.uuid4().hex[:8]}"
    request = as_token(local, token, "service", "request", "patient", service, "--set", "seconds=0", "--wait")
    assert "succeeded" in request.stdout
    history = json.loads(local.bond("service", "history", service, "-o", "json").stdout)
    assert history[-1]["by"] == "token:ci"
    # outside its scope, and beyond its roles
    for arguments in (
        ("service", "request", "patient", "shop/cart", "--set", "seconds=0"),
        ("access", "publish", __file__),
        ("token", "create", "--name", "more", "--role", "admin", "--everywhere"),
        ("token", "create", "--name", "deploy", "--role", "developer", "--team", "payments"),
    ):
        error = refused(as_token(local, token, *arguments, "-o", "json", status=4), "FORBIDDEN")
        assert error["message"]
    assert as_token(local, token, "access", "can", "service.update", "--team", "shop", status=4).stdout
    refusals = json.loads(local.bond("access", "refusals", "--by", "token:ci", "-o", "json").stdout)
    assert {each["verb"] for each in refusals} >= {"service.request", "access.publish", "POST /api/v1/tokens"}
    assert "shop/cart" in local.bond("access", "refusals", "--text", "service.request").stdout
    rows = json.loads(local.bond("token", "list", "--all", "-o", "json").stdout)
    row = next(row for row in rows if row["name"] == "ci")
    assert row["status"] == "active"
    assert row["last_used_at"]
    assert "token" not in row
    assert "developer in team payments" in local.bond("token", "list", "--all").stdout
    assert local.bond("token", "revoke", "ci").stdout == "revoked API token ci\n"
    refused(as_token(local, token, "service", "list", "-o", "json", status=4), "TOKEN_REVOKED")


def test_a_scope_is_said_and_said_once(local):
    refused(
        local.bond("token", "create", "--name", "x", "--role", "viewer", "-o", "json", status=2), "INVALID_INPUT"
    )
    refused(
        local.bond(
            "token",
            "create",
            "--name",
            "x",
            "--role",
            "viewer",
            "--everywhere",
            "--team",
            "a",
            "-o",
            "json",
            status=2,
        ),
        "INVALID_INPUT",
    )


async def test_what_bond_attest_prints_is_accepted_once_as_it_is_by_a_bare_temporal_client(local):
    service = f"payments/svc-{uuid.uuid4().hex[:8]}"
    async with local.client() as bond:
        await (await bond.services.request("patient", service, {"seconds": 0})).wait()
    workflow_id = names.service_workflow_id(*names.parse_service(service))
    handle = (await connect(local.settings)).get_workflow_handle(workflow_id)
    bare = {"requested_by": "ada", "reason": "by hand"}
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("pause", bare)
    printed = local.bond("attest", workflow_id, "pause", "--input", json.dumps(bare)).stdout
    attested = json.loads(printed)
    assert attested["attestation"]["subject"] == "ada"
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("pause", {**attested, "reason": "another one"})
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("resume", attested)
    await handle.execute_update("pause", attested)
    async with local.client() as bond:
        records = await bond.services.history(service)
    assert [record.kind for record in records] == ["operation", "pause"]
    expiry = datetime.fromisoformat(attested["attestation"]["expires_at"])
    assert expiry - datetime.now(UTC) < timedelta(minutes=6)


def test_attest_refuses_what_is_no_argument_in_words(local):
    error = refused(
        local.bond("attest", "service/a/b", "pauze", "--input", "{}", "-o", "json", status=2), "INVALID_INPUT"
    )
    assert "pause" in error["hint"]
    refused(
        local.bond("attest", "service/a/b", "abandon", "--input", "{}", "-o", "json", status=2), "INVALID_INPUT"
    )


def test_the_ledger_is_verified_from_a_copy_of_the_store_with_keys_kept_elsewhere(local, tmp_path):
    anchored = json.loads(local.bond("ledger", "anchor", "-o", "json").stdout)
    assert anchored["chains"] >= 1
    report = json.loads(local.bond("ledger", "verify", "-o", "json").stdout)
    assert report["breaks"] == []
    assert report["signed"] == report["records"] > 0
    assert report["attested"] == report["records"]
    assert report["anchored"] >= 1
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"attestation": {}, "permit": {}}))
    refused_report = local.bond("ledger", "verify", "--keys", str(keys), "-o", "json", status=4)
    assert "not a key of the platform" in json.loads(refused_report.stdout)["breaks"][0]["why"]


def test_signing_keys_are_private(local):
    for name in ("attestation-keys.json", "permit-keys.json", "api-token"):
        assert stat.S_IMODE((Path(local.data) / name).stat().st_mode) == 0o600
