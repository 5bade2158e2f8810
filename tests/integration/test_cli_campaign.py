"""Campaigns, freezes and policy checks through the command, against a real platform and a real Terraform."""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from platforms import PROMISES, LocalPlatform, publish, read_json, refused
from ruamel.yaml import YAML

pytestmark = pytest.mark.integration

PROMISE = "turned"
SERVICES = 6
FRAIL = "shop/turned-5"
"""Not healthy with anything newer than 1.0.0."""

CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, owner: platform, reason: "CVE-2026-1234 in turned", change: {change}}}
spec:
  operation: patch
  promise: turned
  to: 1.0.1
  order: name
  select: {{include: [{services}]}}
  budget: {{max_failures: 0}}
  on_failure: {on_failure}
  waves:
    - {{name: canary, count: 1, max_failures: 0}}
    - {{name: rest, rest: true{gate}}}
"""
GATE = ", gate: {approval: {roles: [sre]}}"


@dataclass
class Fleet:
    """Six services at 1.0.0, and a patch that is published."""

    platform: LocalPlatform
    directory: Path

    def file(
        self, name: str, *services: str, gate: str = "", on_failure: str = "continue", change: str = "CHG-4711"
    ) -> str:
        """A campaign over some of the services; the name of its file."""
        text = CAMPAIGN.format(
            name=name, services=", ".join(services), gate=gate, on_failure=on_failure, change=change
        )
        path = self.directory / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    def show(self, name: str) -> dict[str, Any]:
        """The campaign for programs, checked against its schema."""
        document: dict[str, Any] = read_json(self.platform, "campaign-show", "campaign", "show", name)
        return document


@pytest.fixture(scope="module")
def fleet(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    directory = tmp_path_factory.mktemp("campaigns")

    async def make() -> None:
        async with platform.client() as bond:
            await publish(bond, _revision(directory, "1.0.0"))
            operations = [
                await bond.services.request(PROMISE, service, {"frail": service == FRAIL}, labels={"env": "prod"})
                for service in map(service_name, range(SERVICES))
            ]
            await asyncio.gather(*(operation.result() for operation in operations))
            await publish(bond, _revision(directory, "1.0.1"))

    asyncio.run(make())
    return Fleet(platform, directory)


def service_name(number: int) -> str:
    return f"{'payments' if number % 2 == 0 else 'shop'}/turned-{number}"


def _revision(directory: Path, version: str) -> Path:
    target = directory / version
    shutil.copytree(PROMISES / "turning", target)
    yaml = YAML(typ="safe")
    document = yaml.load(target / "promise.yaml")
    document["metadata"] |= {"name": PROMISE, "version": version}
    document["spec"]["steps"][0]["terraform"]["variables"]["text"] = f"{version} ${{inputs.size}}"
    if version != "1.0.0":
        document["spec"]["patch"] = {"health": [{"expression": "!inputs.frail", "within": "1s"}]}
    yaml.dump(document, target / "promise.yaml")
    return target


def test_a_campaign_from_preview_to_report_and_retry(fleet: Fleet) -> None:
    bond, canary, other = fleet.platform.bond, service_name(0), service_name(1)
    file = fleet.file("cve-1", canary, other, FRAIL, gate=GATE)

    preview = read_json(fleet.platform, "campaign-preview", "campaign", "preview", "-f", file)
    assert [(it["service"], it["wave"]) for it in preview["selected"]] == [
        (canary, "canary"), (other, "rest"), (FRAIL, "rest")
    ]  # fmt: skip
    assert {"service": service_name(2), "kind": "not-selected", "reason": "it is not named in select.include"} in (
        preview["left"]
    )
    assert preview["waves"][0]["ends_at"]["utc"] <= preview["waves"][1]["starts_at"]["utc"]
    assert "nothing was started" in bond("campaign", "preview", "-f", file).stderr
    assert "cve-1" not in bond("campaign", "list").stdout

    waits = bond("--as", "dana", "campaign", "run", "-f", file, "--wait", status=5)
    assert "waits for an approval of wave rest: 1 of sre" in waits.stdout
    assert fleet.show("cve-1")["waves"][1]["missing"] == ["1 of sre"]
    stranger = bond("--as", "eve", "campaign", "approve", "cve-1", "rest", "-o", "json", status=4)
    refused(stranger, "VOTE_REFUSED")
    other_targets = ["--digest", "ffffffffffff", "--role", "sre"]
    refused(
        bond("--as", "eve", "campaign", "approve", "cve-1", "rest", *other_targets, "-o", "json", status=4),
        "VOTE_STALE",
    )
    bond("--as", "eve", "campaign", "approve", "cve-1", "rest", "--role", "sre", "--reason", "looked at it")
    ended = bond("campaign", "wait", "cve-1", status=1)
    assert FRAIL in ended.stdout

    shown = fleet.show("cve-1")
    assert shown["status"] == "completed-with-failures"
    assert [failure["service"] for failure in shown["failures"]] == [FRAIL]
    assert shown["failures"][0]["error"]["code"] == "UNHEALTHY"
    [row] = [
        row for row in read_json(fleet.platform, "campaign-list", "campaign", "list") if row["name"] == "cve-1"
    ]
    assert (row["status"], row["owner"], row["revision"]) == (shown["status"], "platform", "turned@1.0.1")
    _check_report(fleet, "cve-1")

    again = read_json(
        fleet.platform, "campaign-show", "campaign", "retry", "cve-1", "--failed", "--reason", "fixed"
    )
    assert (again["name"], again["linked_from"]) == ("cve-1-retry", "cve-1")
    bond("campaign", "wait", "cve-1-retry", status=1)
    report = read_json(fleet.platform, "campaign-report", "campaign", "report", "cve-1-retry")
    assert [target["service"] for target in report["targets"]] == [FRAIL]


def _check_report(fleet: Fleet, name: str) -> None:
    """The same numbers in every format, and whose word it was."""
    bond = fleet.platform.bond
    report = read_json(fleet.platform, "campaign-report", "campaign", "report", name)
    assert (report["requested_by"], report["change"], report["failures"]) == ("dana", "CHG-4711", 1)
    assert report["compliance"] == {**report["compliance"], "services": 3, "before": 0, "after": 2}
    assert {"what": "approve", "by": "eve", "reason": "looked at it"}.items() <= next(
        event for event in report["events"] if event["what"] == "approve"
    ).items()
    good = next(target for target in report["targets"] if target["outcome"] == "succeeded")
    assert (good["revision_before"], good["revision_after"]) == ("turned@1.0.0", "turned@1.0.1")
    [plan] = good["plans"]
    assert (plan["step"], plan["update"], plan["policy"], len(plan["digest"])) == ("thing", 1, "allow", 64)
    rows = list(csv.DictReader(io.StringIO(bond("campaign", "report", name, "-o", "csv").stdout)))
    assert Counter(row["outcome"] for row in rows) == report["counts"]
    junit = ET.fromstring(bond("campaign", "report", name, "-o", "junit").stdout)  # noqa: S314 - our own
    assert (junit.attrib["tests"], junit.attrib["failures"]) == ("3", "1")
    page = fleet.directory / "report.html"
    bond("campaign", "report", name, "-o", "html", "--to", str(page))
    assert all(target["operation"] in page.read_text() for target in report["targets"])
    assert "approve" in bond("campaign", "report", name).stdout


def test_what_people_tell_a_campaign(fleet: Fleet) -> None:
    bond, first, second = fleet.platform.bond, service_name(2), service_name(3)
    bond("freeze", "create", "audit", "--exempt", "EMG", "--reason", "the auditors are here")
    refused(bond("freeze", "create", "audit", "--reason", "again", "-o", "json", status=4), "ALREADY_EXISTS")
    [freeze] = read_json(fleet.platform, "freeze-list", "freeze", "list")
    assert (freeze["name"], freeze["team"], freeze["exempt"]) == ("audit", "", ["EMG"])
    file = fleet.file("told", first, second)
    preview = read_json(fleet.platform, "campaign-preview", "campaign", "preview", "-f", file)
    assert preview["waves"][0]["starts_at"] is None

    bond("campaign", "run", "-f", file)
    bond("campaign", "set-concurrency", "told", "3", "--reason", "more hands")
    bond("--as", "eve", "campaign", "pause", "told", "--reason", "lunch", "--request-id", "p-1")
    bond("--as", "eve", "campaign", "pause", "told", "--reason", "lunch", "--request-id", "p-1")
    shown = fleet.show("told")
    assert (shown["status"], shown["max_concurrent"], shown["running"]) == ("paused", 3, 0)
    assert any("paused by eve, lunch" in awaited for awaited in shown["awaits"])
    assert "lunch" in bond("campaign", "show", "told").stdout
    refused(bond("campaign", "next-wave", "told", "-o", "json", status=4), "REFUSED")
    refused(bond("campaign", "skip", "told", FRAIL, "-o", "json", status=3), "NOT_FOUND")
    refused(bond("campaign", "rollback", "told", "-o", "json", status=2), "INVALID_INPUT")
    bond("campaign", "skip", "told", second, "--reason", "has its own window")
    bond("campaign", "resume", "told")
    assert fleet.show("told")["counts"] == {"waiting": 1, "skipped": 1}
    bond("freeze", "delete", "audit")
    refused(bond("freeze", "delete", "audit", "-o", "json", status=4), "REFUSED")
    bond("campaign", "wait", "told")
    assert fleet.show("told")["counts"] == {"succeeded": 1, "skipped": 1}
    refused(bond("campaign", "pause", "told", "-o", "json", status=4), "REFUSED")
    events = read_json(fleet.platform, "campaign-report", "campaign", "report", "told")["events"]
    text = [(event["what"], event["by"]) for event in events if event["by"]]
    assert text.count(("pause", "eve")) == 1


def test_a_broken_budget_pauses_and_the_wait_says_so(fleet: Fleet) -> None:
    bond, other = fleet.platform.bond, service_name(4)
    file = fleet.file("broken", FRAIL, other, on_failure="pause", change="EMG-1")
    bond("campaign", "run", "-f", file, "--wait", status=1)
    shown = fleet.show("broken")
    assert shown["status"] == "paused"
    assert shown["budget"]
    bond("campaign", "abort", "broken", "--reason", "enough")
    bond("campaign", "wait", "broken", status=1)
    assert fleet.show("broken")["status"] == "aborted"


def test_what_is_wrong_is_said_before_anything_starts(fleet: Fleet, tmp_path: Path) -> None:
    bond = fleet.platform.bond
    file = fleet.file("wrong", "payments/nobody")
    error = refused(bond("campaign", "run", "-f", file, "-o", "json", status=2), "CAMPAIGN_INVALID")
    assert {problem["line"] for problem in error["problems"]} == {9}
    assert "there is no service payments/nobody" in [problem["message"] for problem in error["problems"]]
    text = Path(file).read_text().replace("count: 1", "count: 0").replace("to: 1.0.1", "to: new")
    error = refused(
        bond("campaign", "validate", "-f", "-", "-o", "json", stdin_text=text, status=2), "CAMPAIGN_INVALID"
    )
    assert [problem["line"] for problem in error["problems"]] == [7, 13]
    refused(bond("campaign", "show", "wrong", "-o", "json", status=3), "NOT_FOUND")
    refused(bond("campaign", "run", "-f", str(tmp_path / "not.yaml"), "-o", "json", status=3), "NOT_FOUND")
    secret = fleet.file("secret", service_name(0))
    changed = (
        Path(secret)
        .read_text()
        .replace("patch\n", "update\n")
        .replace("to: 1.0.1", "inputs: {password: hunter2hunter2}")
    )
    ran = bond("campaign", "run", "-f", "-", "-o", "json", stdin_text=changed, status=2)
    assert "password is a secret" in refused(ran, "CAMPAIGN_INVALID")["problems"][0]["message"]
    assert "hunter2" not in ran.stderr


def test_policies_are_checked_against_the_fleet_and_nothing_changes(fleet: Fleet, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "fleet.rego").write_text(
        "package fleet\nimport rego.v1\n"
        'deny contains "shop is closed" if input.service.team == "shop"\n'
        'warn contains "frail" if input.inputs.frail\n'
    )
    before = fleet.platform.bond("policy", "list").stdout
    document = read_json(fleet.platform, "policy-check", "policy", "check", str(policies), status=4)
    by_service = {item["service"]: item for item in document["services"]}
    assert (by_service[FRAIL]["outcome"], by_service[FRAIL]["newly"]) == ("deny", True)
    assert by_service[service_name(0)]["outcome"] == "allow"
    assert sum(document["counts"].values()) == len(document["services"])
    assert "shop is closed" in fleet.platform.bond("policy", "check", str(policies), status=4).stdout
    assert fleet.platform.bond("policy", "list").stdout == before
