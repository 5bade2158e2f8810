"""Traces: one request is one tree, from the client to the tool's process, and there is no secret in it.

A real platform sends real OTLP to a collector of ours, which keeps the bytes.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from platforms import PROMISES, LocalPlatform, running, until

from harness.traces import Collector, Seen, collecting

pytestmark = pytest.mark.integration

CANARY = secrets.token_hex(12)

PROGRAM = """
import asyncio, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

async def main():
    from bondstone.client.direct.client import DirectClient
    from bondstone.base.settings import Settings
    async with DirectClient.connect(Settings(data=sys.argv[1]), by="portal") as bond:
        with trace.get_tracer("portal").start_as_current_span("POST /databases"):
            operation = await bond.services.update("payments/one", {"size": 7})
        await operation.wait()

asyncio.run(main())
"""


@dataclass
class Scene:
    platform: LocalPlatform
    collector: Collector

    def request(self, service: str, *options: str, status: int = 0) -> str:
        """Ask for a service with a secret; the trace of that."""
        command = ["service", "request", "traced", service, "--secret", "password", "--wait", *options]
        return self.traced(*command, stdin_text=CANARY, status=status)

    def traced(self, *command: str, stdin_text: str | None = None, status: int = 0) -> str:
        """Run a command as a step of a pipeline that is traced; its trace."""
        trace = secrets.token_hex(16)
        self.platform.environment["TRACEPARENT"] = f"00-{trace}-00000000000000aa-01"
        self.platform.bond(*command, stdin_text=stdin_text, status=status)
        return trace

    async def whole(self, trace: str, *names: str) -> list[Seen]:
        """The spans of a trace, once all these are there."""
        await until(lambda: {*names} <= {span.name for span in self.collector.of(trace)}, what=trace)
        return self.collector.of(trace)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "BOND_LOG_LEVEL": "debug",
            "BOND_API": "",  # most tests speak to Temporal themselves
        }
        with running(tmp_path_factory.mktemp("traces") / "data", environment) as platform:
            platform.bond("promise", "publish", str(PROMISES / "traced"))
            scene = Scene(platform, collector)
            platform.environment["FIRST_TRACE"] = scene.request("payments/one")
            yield scene


def parents(spans: list[Seen]) -> dict[str, str]:
    """The name of each span, and that of its parent."""
    by_id = {span.span: span.name for span in spans}
    return {span.name: by_id.get(span.parent, span.parent) for span in spans}


TREE = {
    "bond service request": "00000000000000aa",
    "Bondstone.request": "bond service request",
    "Service.request_operation": "Bondstone.request",
    "promise.resolve": "Service.request_operation",
    "provision": "Bondstone.request",
    "terraform.plan": "provision",
    "terraform plan": "terraform.plan",
    "terraform show": "terraform.plan",
    "policy.check": "provision",
    "policy.evaluate": "policy.check",
    "terraform.apply": "provision",
    "terraform apply": "terraform.apply",
    "ledger.record": "provision",
}


async def test_one_request_is_one_tree_from_the_client_to_the_tool(scene: Scene) -> None:
    spans = await scene.whole(scene.platform.environment["FIRST_TRACE"], *TREE)
    result = parents(spans)
    assert {name: result[name] for name in TREE} == TREE
    by_id = {span.span for span in spans}
    assert [span.name for span in spans if span.parent not in by_id] == ["bond service request"]
    assert [span.name for span in spans if span.failed] == []
    assert {span.process for span in spans} == {"bond", "bondstone-control", "bondstone-executor"}
    by_name = {span.name: span for span in spans}
    applied = by_name["terraform apply"]
    assert applied.attributes["process.exit.code"] == 0
    assert 0 < applied.seconds < by_name["provision"].seconds < by_name["bond service request"].seconds
    about = by_name["terraform.apply"].attributes
    assert (about["bond.service"], about["bond.operation"], about["bond.step"]) == ("payments/one", 1, "thing")


async def test_a_failed_operation_is_marked_from_the_tool_up_to_the_command(scene: Scene) -> None:
    trace = scene.request("payments/broken", "--set", "exit=3", status=1)
    spans = await scene.whole(trace, "bond service request", "provision", "terraform apply", "ledger.record")
    failed = {span.name: span.failed for span in spans if span.failed}
    assert failed == {
        "terraform apply": "exit 1",
        "terraform.apply": "TOOL_FAILED",
        "provision": "TOOL_FAILED",
        "bond service request": "exit 1",
    }


async def test_rule_7_no_span_has_a_secret(scene: Scene) -> None:
    trace = scene.request("payments/secret", "--set", "exit=1", status=1)
    await scene.whole(trace, "bond service request", "provision", "terraform apply")
    sent = b"\n".join(scene.collector.raw)
    assert b"payments/secret" in sent
    assert CANARY.encode() not in sent
    assert b"refused" not in sent, "what a tool says is for its log"


async def test_the_tool_and_the_logs_say_where_in_the_trace_they_are(scene: Scene) -> None:
    trace = scene.request("payments/said", "--set", "exit=1", status=1)
    spans = await scene.whole(trace, "terraform apply", "terraform.apply")
    applied = next(span for span in spans if span.name == "terraform apply")
    output = scene.platform.bond("service", "logs", "payments/said").stdout
    assert {*re.findall(r"traceparent is (00-[0-9a-f-]+)", output)} == {f"00-{trace}-{applied.span}-01"}
    lines = [line for line in scene.platform.log("executor").splitlines() if trace in line]
    assert [line for line in lines if '"trace_id"' in line and '"activity failed"' in line]
    shown = scene.platform.bond("operation", "show", "payments/said/op/1").stdout
    assert trace in shown


async def test_a_service_that_lives_on_has_a_trace_for_each_request(scene: Scene) -> None:
    first = scene.request("payments/long")
    second = scene.traced("service", "update", "payments/long", "--set", "size=2", "--wait")
    third = scene.traced("service", "update", "payments/long", "--set", "size=3", "--wait")

    def named(trace: str) -> list[str]:
        return sorted(span.name for span in scene.collector.of(trace))

    await scene.whole(first, "bond service request", "provision", "ledger.record")
    await scene.whole(third, "bond service update", "update", "ledger.record")
    await until(lambda: named(second) == named(third), what="the third is no more than the second")
    assert [named(trace).count("update") for trace in (first, second, third)] == [0, 1, 1]


async def test_a_cold_worker_that_replays_repeats_no_span(scene: Scene) -> None:
    trace = scene.traced("service", "update", "payments/long", "--set", "size=5", "--set", "pause=4")
    await scene.whole(trace, "Service.request_operation", "promise.resolve", "policy.check")
    scene.platform.kill(*scene.platform.workers("control").values())
    spans = await scene.whole(trace, "update", "terraform.apply", "ledger.record")
    assert len({span.span for span in spans}) == len(spans)
    assert len([span for span in spans if span.name in {"update", "Service.request_operation"}]) == 2


async def test_a_request_over_http_continues_the_trace_of_its_caller(scene: Scene) -> None:
    token = (scene.platform.data / "api-token").read_text().strip()
    trace = secrets.token_hex(16)
    async with httpx2.AsyncClient(
        base_url=f"{scene.platform.settings.api}/api/v1",
        headers={"Authorization": f"Bearer {token}", "traceparent": f"00-{trace}-00000000000000bb-01"},
        timeout=120,
        trust_env=False,
    ) as client:
        answer = await client.post(
            "/services/payments/one/update", json={"inputs": {"size": 8}}, params={"wait": 60}
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["trace_id"] == trace
        malformed = await client.post(
            "/services/payments/one/pause", json={}, headers={"traceparent": "00-no-trace-01"}
        )
        assert malformed.status_code == 200, malformed.text
        await client.post("/services/payments/one/resume", json={})
    spans = await scene.whole(trace, "HTTP POST", "Bondstone.request", "terraform apply")
    result = parents(spans)
    assert (result["HTTP POST"], result["Bondstone.request"]) == ("00000000000000bb", "HTTP POST")
    assert {span.name for span in spans if span.process == "bondstone-api"} == {"HTTP POST", "Bondstone.request"}
    assert result["update"] == "Bondstone.request"

    scene.platform.environment["BOND_API"] = scene.platform.settings.api
    scene.platform.environment["BOND_TOKEN"] = token
    try:
        trace = scene.traced("service", "update", "payments/one", "--set", "size=9", "--wait")
    finally:
        scene.platform.environment["BOND_API"] = ""
        del scene.platform.environment["BOND_TOKEN"]
    result = parents(await scene.whole(trace, "HTTP POST", "Bondstone.request", "terraform apply"))
    assert (result["HTTP POST"], result["Bondstone.request"]) == ("bond service update", "HTTP POST")


async def test_a_program_that_traces_itself_has_the_operation_in_its_own_trace(scene: Scene) -> None:
    environment = scene.platform.environment
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM, str(scene.platform.data)],
        env={name: value for name, value in environment.items() if name != "TRACEPARENT"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    await until(lambda: [span for span in scene.collector.spans if span.name == "POST /databases"])
    root = next(span for span in scene.collector.spans if span.name == "POST /databases")
    parent_of = parents(await scene.whole(root.trace, "update", "terraform apply"))
    assert (parent_of["POST /databases"], parent_of["Bondstone.request"]) == ("", "POST /databases")
    assert (parent_of["update"], parent_of["terraform apply"]) == ("Bondstone.request", "terraform.apply")


async def test_operations_of_a_campaign_are_traces_of_their_own_that_link_to_it(
    scene: Scene, tmp_path: Path
) -> None:
    scene.request("payments/fleet", "--label", "fleet=yes")
    newer = tmp_path / "newer"
    shutil.copytree(PROMISES / "traced", newer)
    text = (newer / "promise.yaml").read_text().replace("version: 1.0.0", "version: 1.0.1")
    (newer / "promise.yaml").write_text(text)
    scene.platform.bond("promise", "publish", str(newer))
    (tmp_path / "c.yaml").write_text(
        "apiVersion: bondstone.dev/v1\nkind: Campaign\n"
        "metadata: {name: all, owner: tests, reason: to trace it}\n"
        "spec: {operation: patch, promise: traced, to: 1.0.1, select: {where: \"labels.fleet == 'yes'\"},\n"
        "       waves: [{name: all, percent: 100}]}\n"
    )
    trace = scene.traced("campaign", "run", "-f", str(tmp_path / "c.yaml"), "--wait")
    campaign = await scene.whole(trace, "bond campaign run", "Bondstone.start_campaign")
    assert {span.name for span in campaign} == {"bond campaign run", "Bondstone.start_campaign"}
    await until(lambda: [span for span in scene.collector.spans if span.name == "patch"])
    [patch] = [span for span in scene.collector.spans if span.name == "patch"]
    assert (patch.links, patch.parent) == ((trace,), "")
    result = parents(await scene.whole(patch.trace, "terraform.plan", "ledger.record"))
    assert result["terraform.plan"] == result["ledger.record"] == "patch"
