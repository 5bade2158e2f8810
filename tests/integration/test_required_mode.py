"""What has a way of its own to sign, where attestations are required: the console, `bond attest`, new keys.

The verbs of the command are tested on platforms that require attestations too: the one that tests share
(`conftest.py`), and that of day two. What an attacker cannot do is in `test_attacks.py`. In
the end the whole ledger verifies, offline.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from platforms import PROMISES, REQUIRED, LocalPlatform, read_json, running
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from test_parts import leaf
from test_temporal_cli import ROOT, commands, run

from bondstone.base import names
from bondstone.store.crypto import KeyRing
from bondstone.temporal.connection import connect
from harness.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@dataclass
class Scene:
    """A platform on which attestations are required."""

    platform: LocalPlatform
    root: Path

    def bond(self, *arguments: str, by: str = "ada", stdin_text: str | None = None, status: int | None = 0) -> str:
        """What a command of somebody prints."""
        return self.platform.bond("--as", by, *arguments, stdin_text=stdin_text, status=status, seconds=150).stdout

    def show(self, service: str) -> dict[str, Any]:
        return read_json(self.platform, "service-show", "service", "show", service)

    def kinds(self, service: str) -> list[tuple[str, str, str]]:
        """The operations of a service, first to last: what, how it went, who asked."""
        history = read_json(self.platform, "service-history", "service", "history", service)
        return [
            (each["operation_kind"], each["status"], each["by"]) for each in history if each["kind"] == "operation"
        ]

    def approve(self, operation: str, by: str = "eve") -> None:
        """Somebody else approves the plan that waits."""
        self.bond("operation", "wait", operation, status=5)
        digest = read_json(self.platform, "operation-plan", "operation", "plan", operation)[0]["digest"]
        self.bond("approval", "approve", operation, "--digest", digest, "--role", "dba", by=by)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("required")
    with running(root / "data", REQUIRED) as platform:
        scene = Scene(platform, root)
        leaves = [leaf(root, "1.0.0"), leaf(root, "1.0.1", "patched ")]
        for folder in (PROMISES / "turning", PROMISES / "held", *leaves):
            scene.bond("promise", "publish", str(folder))
        yield scene


class Console:
    """The console as a person's browser uses it: pages and their forms, without scripts.

    Args:
        scene: The platform.
        by: Who is signed in.
    """

    def __init__(self, scene: Scene, by: str) -> None:
        url = json.loads(scene.bond("open", "--print", "-o", "json", by=by))["url"]
        self._http = httpx2.Client(
            base_url=url.partition("/sign-in")[0], follow_redirects=True, timeout=120, trust_env=False
        )
        self._http.get(url).raise_for_status()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def page(self, path: str) -> str:
        """What a page says."""
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, page: str, to: str = "", **fields: str) -> str:
        """Send a form of a page; the path that its answer leads to."""
        [token, *_] = re.findall(r'name="csrf" value="([^"]+)"', self.page(page))
        answer = self._http.post(to or page, data={"csrf": token, **fields})
        assert answer.status_code == 200, answer.text
        return answer.url.path


def test_the_console_signs_each_change_for_the_person_who_makes_it(scene: Scene) -> None:
    with closing(Console(scene, "ada")) as ada, closing(Console(scene, "eve")) as eve:
        about = {"team": "life", "name": "console", "version": "1.0.0", "input.text": "a", "input.fail": "false"}
        path = ada.send("/catalogue/leaf/request", **about, do="request")
        assert path == "/services/life/console/operations/1"
        scene.bond("operation", "wait", "life/console/op/1")
        path = ada.send("/services/life/console", "/services/life/console/do", verb="patch", do="request")
        assert path == "/services/life/console/operations/2"
        scene.bond("operation", "wait", "life/console/op/2")
        assert scene.show("life/console")["revision"] == "leaf@1.0.1"
        assert scene.kinds("life/console") == [("provision", "succeeded", "ada"), ("patch", "succeeded", "ada")]

        held = {"team": "life", "name": "held", "input.made": str(scene.root / "made"), "input.gated": "true"}
        ada.send("/catalogue/held/request", **held, **{"input.until": ""}, do="request")
        scene.bond("operation", "wait", "life/held/op/1", status=5)
        [plan] = read_json(scene.platform, "operation-plan", "operation", "plan", "life/held/op/1")
        vote = {
            "step": plan["step"],
            "digest": plan["digest"],
            "roles": "dba",
            "vote": "approve",
            "comment": "seen",
        }
        address = "/services/life/held/operations/1/vote"
        assert "life/held" in eve.page("/approvals?show=roles")
        with pytest.raises(AssertionError, match="another person must approve it"):
            ada.send("/approvals", address, **vote)
        assert eve.send("/approvals", address, **vote, back="/approvals?show=all") == "/approvals"
        scene.bond("operation", "wait", "life/held/op/1")
        shown = read_json(scene.platform, "operation-show", "operation", "show", "life/held/op/1")
        [cast] = shown["approvals"][0]["votes"]
        assert (cast["by"], cast["comment"]) == ("eve", "seen")
        verified = read_json(scene.platform, "ledger-verify", "ledger", "verify", "life/held")
        assert verified["breaks"] == []
        assert verified["approvals"] > 0


def test_the_commands_of_the_how_to_do_what_the_page_says(scene: Scene) -> None:
    scene.bond("promise", "publish", str(ROOT / "promises" / "sqlite-database"))
    scene.bond("service", "request", "sqlite-database", "payments/orders", "--set", "contact=a@b.c", "--wait")
    scene.platform.environment |= {"BOND_DATA": str(scene.platform.data), "BOND_AS": "ada"}
    for each in commands(required=True):
        printed = run(scene.platform, each.command)
        assert each.matches(printed), f"$ {each.command}\n{printed}"
    scene.bond("service", "wait", "payments/reports")
    assert scene.kinds("payments/reports") == [("provision", "succeeded", "ada")]


def test_the_temporal_command_triggers_what_bond_attest_has_signed(scene: Scene) -> None:
    service = f"bare/svc-{uuid.uuid4().hex[:8]}"
    bare = {"request_id": "r-1", "promise": "turning", "inputs": {}, "requested_by": "ada"}
    start = ["workflow", "execute-update-with-start", "--workflow-id", f"service/{service}", "--type", "Service",
             "--task-queue", names.CONTROL_QUEUE, "--id-conflict-policy", "UseExisting",
             "--input", json.dumps({"service": dict(zip(("team", "name"), service.split("/"), strict=True))}),
             "--update-name", "request_operation"]  # fmt: skip
    refused = temporal(scene, *start, "--update-input", json.dumps(bare), status=1)
    assert "ATTESTATION_INVALID" in refused
    signed = scene.bond("attest", f"service/{service}", "request_operation", "--input", json.dumps(bare)).strip()
    assert "number:1" in temporal(scene, *start, "--update-input", signed)
    scene.bond("service", "wait", service)
    assert scene.kinds(service) == [("provision", "succeeded", "ada")]


async def test_the_bare_sdk_triggers_what_bond_attest_has_signed(scene: Scene) -> None:
    service = f"bare/svc-{uuid.uuid4().hex[:8]}"
    bare = {"request_id": "r-1", "promise": "turning", "inputs": {"size": "large"}, "requested_by": "ada"}
    request = ["attest", f"service/{service}", "request_operation", "--input", json.dumps(bare)]
    signed = await asyncio.to_thread(scene.bond, *request)
    client = await connect(scene.platform.settings)
    team, name = service.split("/")
    accepted = await client.execute_update_with_start_workflow(
        "request_operation",
        json.loads(signed),
        start_workflow_operation=WithStartWorkflowOperation(
            "Service",
            {"service": {"team": team, "name": name}},
            id=f"service/{service}",
            task_queue=names.CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        ),
    )
    assert accepted["number"] == 1
    await asyncio.to_thread(scene.bond, "operation", "wait", f"{service}/op/1")  # until it is in the ledger
    assert (await asyncio.to_thread(scene.kinds, service))[0][2] == "ada"


def test_signing_keys_are_rotated_while_a_plan_waits_for_a_vote(scene: Scene) -> None:
    """As the how-to says: add a key, make it active, restart the processes that sign."""
    service, platform = "life/rotated", scene.platform
    scene.bond("service", "request", "turning", service, "--version", "1.0.0", "--wait")
    scene.bond("service", "update", service, "--set", "size=large", "--ask")
    scene.bond("operation", "wait", f"{service}/op/2", status=5)
    rings = {"attestation": platform.settings.attestation_key_file, "permit": platform.settings.permit_key_file}
    old = {use: KeyRing.load(file).active for use, file in rings.items()}
    new = {}
    for use, process in (("attestation", "api"), ("permit", "control")):
        ring, new[use] = KeyRing.load(rings[use]).with_new_key()
        ring.with_active(new[use]).write(rings[use])
        killed = platform.workers(process)
        platform.kill(*killed.values())
        wait_until(lambda ended=killed, name=process: restarted(platform, name, ended), f"{process} runs again")
    wait_until(lambda: answers(f"{platform.settings.api}/healthz"), "the API")
    scene.approve(f"{service}/op/2")
    scene.bond("operation", "wait", f"{service}/op/2")
    files = (platform.data / "objects" / "ledger").rglob(f"{service}/*-op-*.json")
    records = [json.loads(file.read_text()) for file in sorted(files, key=lambda file: file.name)]
    first, last = (record for record in records if record["kind"] == "operation")
    vote = last["approvals"][0]["votes"][0]["attestation"]
    assert (first["key_id"], first["attestation"]["key_id"]) == (old["permit"], old["attestation"])
    assert (last["attestation"]["key_id"], vote["key_id"]) == (old["attestation"], new["attestation"])
    assert last["key_id"] == new["permit"]
    scene.bond("service", "update", service, "--set", "size=small", "--wait")
    scene.bond("ledger", "verify", service)


def restarted(platform: LocalPlatform, name: str, ended: dict[str, int]) -> bool:
    """Whether every process of a kind is another one than those that were killed."""
    now = platform.workers(name)
    return now.keys() == ended.keys() and not set(now.values()) & set(ended.values())


def answers(address: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(address, trust_env=False).status_code == 200
    return False


def test_the_whole_ledger_verifies_in_the_end(scene: Scene) -> None:
    report = json.loads(scene.bond("ledger", "verify", "-o", "json"))
    assert report["breaks"] == []
    assert report["signed"] == report["records"] > 10


def temporal(scene: Scene, *arguments: str, status: int = 0) -> str:
    """What the `temporal` command says."""
    command = [str(Path(sys.executable).with_name("temporal")), *arguments]
    command += ["--address", scene.platform.settings.temporal_address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
