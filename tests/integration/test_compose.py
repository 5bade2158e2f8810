"""`docker-compose.yml` as it is written, run as processes: the main job, and kills in the middle of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson, Parse
from platforms import PROMISES, publish, until
from temporalio.api.common.v1 import Payloads
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from bondstone.base.metrics import METRICS
from bondstone.base.settings import Settings
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus, Phase
from bondstone.temporal.payloads import data_converter
from bondstone.workflows import served
from harness.compose import Compose, read_variables
from harness.pinned import ROOT, ToolMissing
from harness.servers import composed
from harness.servers.composed import Composed
from tools import compose_secrets, dashboard

pytestmark = pytest.mark.integration

SECONDS = 240
"""A killed worker is missed after 30 s without a heartbeat; the rest is the work itself, on a busy machine."""


@pytest.fixture(scope="module")
def platform() -> Iterator[Composed]:
    """As `docker compose --profile second-pool up --scale control=2`, with secrets made as the file says."""
    directory = Path(tempfile.mkdtemp(prefix="bond-compose-"))
    directory.chmod(0o711)
    secrets = directory / ".env"
    subprocess.run(
        [sys.executable, "-I", compose_secrets.__file__, str(secrets)], check=True, stdout=subprocess.DEVNULL
    )
    variables = {**read_variables(secrets), "BOND_DRAIN_SECONDS": "2"}
    compose = Compose.read(ROOT / "docker-compose.yml", variables)
    try:
        with composed.running(directory, compose, profiles=("second-pool",), scale={"control": 2}) as platform:
            yield platform
    except ToolMissing as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def bond(platform: Composed, monkeypatch: pytest.MonkeyPatch):
    """A client that knows what the service `bond` of the file is told, and no more."""
    for name, value in platform.environment(platform.compose.services["bond"], "bond").items():
        monkeypatch.setenv(name, value)
    async with DirectClient.connect(Settings.load(), by="ada") as bond:
        yield bond


async def succeeds(operation: Operation) -> None:
    async with asyncio.timeout(SECONDS):
        record = await operation.wait(through_approvals=True)
    assert record.status is OperationStatus.SUCCEEDED, record.error


def next_version(promise: str, directory: Path) -> Path:
    copied = directory / promise
    shutil.copytree(PROMISES / promise, copied)
    document = copied / "promise.yaml"
    document.write_text(document.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    return copied


def kill_9(platform: Composed, name: str) -> None:
    server = platform.servers[name]
    assert server.process
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(60)


def test_all_that_the_file_describes_runs(platform):
    assert {
        name for name, server in platform.servers.items() if server.process and server.process.poll() is None
    } == {
        *("postgres", "temporal", "objects", "api"),
        *("control-1", "control-2", "codec", "executor", "executor-second"),
    }


def test_the_command_of_the_file_speaks_to_it_and_setup_may_run_again(platform):
    completed = platform.run("bond", "status", "-o", "json")
    assert [queue["workers"] for queue in json.loads(completed)["queues"]] == [2, 1]
    again = json.loads(platform.run("setup", "bond", "setup", "-o", "json"))
    assert again["namespace"] == "bond"
    platform.run("temporal-schema")


async def test_what_temporal_keeps_is_encrypted_and_the_codec_server_opens_it(bond, platform):
    await publish(bond, PROMISES / "patient")
    marker = "10.123.45.0/24"
    operation = await bond.services.request("patient", "payments/sealed", {"net": {"cidr": marker}})
    await succeeds(operation)
    assert (await bond.services.outputs("payments/sealed"))["cidr"] == marker
    dumped = platform.postgres.run("pg_dump", "--data-only", "--inserts", "temporal")
    assert b"binary/bondstone-sealed".hex() in dumped, "the search finds what is there"
    assert marker.encode().hex() not in dumped
    assert marker not in dumped + platform.postgres.run("pg_dump", "--data-only", "temporal_visibility")

    history = (
        await (await bond.connection.temporal())
        .get_workflow_handle("service/payments/sealed/op/1")
        .fetch_history()
    )
    [sealed] = history.events[0].workflow_execution_started_event_attributes.input.payloads
    token = read_variables(platform.directory / ".env")["BOND_CODEC_TOKEN"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{platform.port('codec', 8234)}/decode",
        MessageToJson(Payloads(payloads=[sealed])).encode(),
        {"Authorization": f"Bearer {token}", "Origin": "http://127.0.0.1:8233"},
    )
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as answer:
        [opened] = Parse(answer.read(), Payloads()).payloads
    assert marker.encode() in opened.data
    assert marker.encode() not in sealed.data
    replayer = Replayer(
        workflows=served.ALL,
        data_converter=data_converter(Settings.load()),
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("pool", ["default", "second"])
async def test_a_service_is_provisioned_patched_and_decommissioned_in_each_pool(bond, pool, tmp_path):
    name = f"payments/{pool}"
    await publish(bond, PROMISES / "patient")
    await succeeds(
        await bond.services.request("patient", name, {"pool": pool, "password": "correct horse"}, version="1.0.0")
    )
    assert (await bond.services.outputs(name, reveal=True))["password"] == "correct horse"
    await publish(bond, next_version("patient", tmp_path))
    await succeeds(await bond.services.patch(name))
    state = await bond.services.get(name)
    assert (state.phase, state.revision) == (Phase.READY, "patient@1.0.1")
    await succeeds(await bond.services.decommission(name))
    assert [str(record.operation_kind) for record in await bond.services.history(name)] == [
        "provision",
        "patch",
        "decommission",
    ]


async def test_rule_2_a_control_and_an_executor_worker_die_while_a_service_applies(bond, platform, tmp_path):
    await publish(bond, PROMISES / "counting")
    gate, made = tmp_path / "gate", tmp_path / "made"
    gate.write_text("open")
    operation = await bond.services.request("counting", "payments/killed", {"made": str(made), "gate": str(gate)})

    def count(word: str) -> Counter[str]:
        lines = made.read_text().splitlines() if made.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(f"{word} "))

    await until(lambda: count("begun")["thing_2"], what="thing_2 is being made")
    kill_9(platform, "control-1")
    kill_9(platform, "executor")
    for name in ("control-1", "executor"):  # restart: unless-stopped
        platform.servers[name].launch()
    await succeeds(operation)
    assert (await bond.services.get("payments/killed")).phase is Phase.READY
    assert set(count("made")) == {f"thing_{number}" for number in range(6)}
    assert max(count("made").values()) == 1
    await succeeds(await bond.services.decommission("payments/killed"))
    assert count("gone") == Counter(count("made").keys())


def scraped(platform: Composed, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{platform.port(name, 9464)}/metrics", timeout=10) as answer:
        return answer.read().decode()


def test_workers_serve_the_metrics_that_the_page_lists(platform):
    result = {"control": scraped(platform, "control-1") + scraped(platform, "control-2")}
    result["executor"] = scraped(platform, "executor")
    for metric in METRICS:
        [series] = re.findall(rf"^# TYPE {metric.name} {metric.kind}$", result[metric.process], re.MULTILINE)[:1]
        assert series
        labels = re.findall(rf"^{metric.name}(?:_count)?\{{(.*?)\}} ", result[metric.process], re.MULTILINE)
        assert labels, metric.name
        for each in labels:
            assert set(re.findall(r'(\w+)="', each)) == {*metric.labels, "process"}, metric.name
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    both = "".join(result.values())
    ours = {metric.name for metric in METRICS}
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    missing = {name for name in listed - ours if not re.search(rf"^# TYPE {name} ", both, re.MULTILINE)}
    assert missing <= {  # appear with the first failure
        "temporal_activity_execution_failed_total",
        "temporal_workflow_task_execution_failed_total",
        "temporal_request_failure_total",
    }


def test_the_dashboard_groups_by_labels_that_the_metrics_have(platform):
    both = scraped(platform, "control-1") + scraped(platform, "control-2") + scraped(platform, "executor")
    known = {"le", "instance"}  # of histograms, and of Prometheus itself
    for panel in dashboard.PANELS:
        for query in panel.queries.values():
            grouped = {
                label.strip() for by in re.findall(r"by \((.*?)\)", query) for label in by.split(",")
            } - known
            for name in re.findall(r"\b(?:bond|temporal)_\w+", query):
                series = re.search(rf"^{name}\{{(.*?)\}} ", both, re.MULTILINE)
                if series:
                    assert grouped <= set(re.findall(r'(\w+)="', series[1])), query


def test_no_secret_is_in_a_log_of_a_worker(platform):
    variables = read_variables(platform.directory / ".env")
    del variables["S3_ACCESS_KEY"]  # a name, not a secret
    for path in platform.directory.glob("*.log"):
        text = path.read_text(errors="replace")
        assert not [name for name, value in variables.items() if value in text], path.name


def test_workers_leave_in_order_when_they_are_told_to(platform):
    workers = [server for name, server in platform.servers.items() if name.startswith(("control", "executor"))]
    for server in workers:
        os.kill(server.process.pid, signal.SIGTERM)
    assert [server.process.wait(60) for server in workers] == [0] * len(workers)
