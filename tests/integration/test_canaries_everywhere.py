"""Rule 7 through every tool and every door: three executors, parts, adoption, campaigns, schedules, traces.

`test_canaries.py` plants few secrets and looks closely; this plants one of every kind by every way in, and
searches whatever the platform writes, sends or shows. Beside each secret goes a plain marker, which must be found.
"""

from __future__ import annotations

import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx2 as httpx
import pytest
from canary_kit import Canaries, archived
from canary_planting import FAILING, SECONDS, Anything, Scene, plant, scene_api
from helm_kit import helm
from platforms import running
from test_canaries import files, in_process

from bondstone.temporal.service_ids import service_id
from harness.servers.kubernetes import ControlPlane
from harness.servers.process import low_port
from harness.traces import collecting

pytestmark = [pytest.mark.integration, pytest.mark.timeout(700)]


@pytest.fixture(scope="module")
def scene(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("planted")
    canaries = Canaries()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Anything)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = low_port()
    (root / "tmp").mkdir()
    with collecting() as collector:
        environment = {
            "BOND_HELM": helm(),
            "BOND_CLUSTERS": json.dumps({"default": {"kubeconfig": str(control_plane.kubeconfig)}}),
            "BOND_LOG_LEVEL": "debug",
            "BOND_METRICS_BIND": f"127.0.0.1:{port}",
            "BOND_TOOL_ENVIRONMENT": json.dumps(["CANARY_ONE", "CANARY_PEM"]),
            "CANARY_ONE": canaries.text("a variable of tool_environment"),
            "CANARY_PEM": f"{canaries.text('a line of a variable')}\n{canaries.text('its other line')}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TMPDIR": str(root / "tmp"),
        }
        with running(root / "data", environment) as platform:
            scene = Scene(platform, root, canaries, collector, control_plane, port)
            scene.address = f"http://127.0.0.1:{server.server_port}"
            plant(scene)
            yield scene
    server.shutdown()
    server.server_close()


def test_at_least_34_canaries_were_planted(scene: Scene) -> None:
    assert len({what.partition(" of failing")[0] for what in scene.canaries.known}) >= 34


def test_states_and_clusters_hold_what_nothing_else_may(scene: Scene) -> None:
    # Otherwise the other tests would prove nothing.
    state = scene.platform.bond("state", "pull", "payments/whole", "--step", "made").stdout.encode()
    leaks = " ".join(scene.canaries.leaks(state))
    for what in ("text", "second line", "pem line 1", "number", "first item", "member"):
        assert f"{what} of payments/whole" in leaks, what
    cluster = json.dumps(scene.plane.call("GET", f"/api/v1/namespaces/{scene.namespace}/secrets"))
    cluster += json.dumps(scene.plane.call("GET", f"/api/v1/namespaces/{scene.namespace}/configmaps"))
    leaks = " ".join(scene.canaries.leaks(cluster.encode()))
    for what in ("chart value", "chart config", "chart label", "manifest data", "manifest annotation"):
        assert f"{what} of payments/whole" in leaks, what
    revealed = scene.platform.bond("service", "outputs", "payments/whole", "--reveal", "-o", "json").stdout
    assert "a Secret that was there before" in " ".join(scene.canaries.leaks(revealed.encode()))


def test_rule_7_what_commands_said_has_no_secret(scene: Scene) -> None:
    printed = "\n".join(scene.printed).encode()
    assert scene.canaries.marker.encode() in printed
    assert scene.canaries.leaks(printed) == []


async def test_rule_7_temporal_has_no_secret_anywhere(scene: Scene) -> None:
    """Histories, with the summaries in them; search attributes and memos of workflows and schedules."""
    kept: list[bytes] = []
    kinds = set()
    async with scene.platform.client() as bond:
        temporal = await bond.connection.temporal()
        async for execution in temporal.list_workflows():
            kinds.add(execution.workflow_type)
            handle = temporal.get_workflow_handle(execution.id, run_id=execution.run_id)
            history = await handle.fetch_history()
            kept += [execution.raw_info.SerializeToString(), history.to_json().encode()]
            kept += [event.SerializeToString() for event in history.events]
            kept.append((await handle.describe()).raw_description.SerializeToString())
        async for schedule in await temporal.list_schedules():
            described = await temporal.get_schedule_handle(schedule.id).describe()
            kept.append(described.raw_description.SerializeToString())
    assert kinds >= {"Service", "Provision", "Update", "Reconcile", "Campaign"}
    kept.append(files(scene.platform.data, "temporal.db*"))
    whole = b"\n".join(kept)
    assert scene.canaries.marker.encode() in whole
    assert scene.canaries.leaks(whole) == []


def test_rule_7_logs_have_no_secret(scene: Scene) -> None:
    logs = files(scene.platform.data / "log")
    assert scene.canaries.marker.encode() in logs
    assert scene.canaries.leaks(logs) == []


def test_rule_7_no_file_of_the_platform_has_a_secret(scene: Scene) -> None:
    every = files(scene.platform.data)
    assert scene.canaries.marker.encode() in every
    assert scene.canaries.leaks(every) == []
    assert scene.canaries.leaks(files(scene.root / "tmp")) == []


def test_rule_7_step_logs_have_no_secret_when_they_are_opened(scene: Scene) -> None:
    logs = b""
    with scene_api(scene) as api:
        operations = [row["id"] for row in api.get("/operations").json()]
    for operation in operations:
        logs += in_process(scene.platform, ["operation", "logs", operation])
    for word in (b"said", b"complained"):  # notes of a chart are not logged
        assert word + b" " + scene.canaries.marker.encode() in logs
    assert scene.canaries.leaks(logs) == []


def test_rule_7_no_span_has_a_secret(scene: Scene) -> None:
    sent = b"\n".join(scene.collector.raw)
    assert b"payments/whole" in sent
    assert scene.canaries.leaks(sent) == []


def test_rule_7_no_metric_has_a_secret(scene: Scene) -> None:
    metrics = b""
    for worker in range(len(scene.platform.state().processes)):
        try:
            metrics += httpx.get(f"http://127.0.0.1:{scene.metrics_port + worker}/metrics").content
        except httpx.TransportError:
            continue
    assert b"bond_" in metrics
    assert scene.canaries.leaks(metrics) == []


def test_rule_7_no_document_of_the_api_has_a_secret(scene: Scene) -> None:
    answers, statuses = [], {}
    with scene_api(scene) as api:
        services = [row["id"] for row in api.get("/services").json()["items"]]
        assert "payments/whole" in services
        operations = [row["id"] for row in api.get("/operations").json()]
        paths = ["/services", "/fleet", "/operations", "/approvals", "/promises", "/promises/planted", "/policies",
                 "/promises/planted/1.0.0", "/campaigns", "/campaigns/look", "/campaigns/look/report",
                 "/schedules", "/schedules/nightly", "/schedules/nightly/history", "/freezes",
                 "/workers", "/workers/queues", "/access", "/whoami", "/tokens"]  # fmt: skip
        paths += [f"/services/{service}{rest}" for service in services
                  for rest in ("", "/outputs", "/history", "/archive")]  # fmt: skip
        paths += [f"/services/{service}/outputs" for service in services]
        paths += [f"/operations/{operation}{rest}" for operation in operations for rest in ("", "/plans", "/logs")]
        paths += [f"/state/{service}/log" for service in services]
        for path in paths:
            answer = api.get(path)
            statuses[path] = answer.status_code
            answers += [path.encode(), answer.content, str(answer.headers).encode()]
        for path in ("/fleet/events", "/services/payments/whole/events", "/campaigns/look/events"):
            answers.append(stream(api, path))
    whole = b"\n".join(answers)
    assert {path: status for path, status in statuses.items() if status >= 500} == {}
    assert scene.canaries.marker.encode() in whole
    assert scene.canaries.leaks(whole) == []


def stream(api: httpx.Client, path: str) -> bytes:
    """What a stream of events has, from the first on, until it pauses."""
    received = b""
    try:
        with api.stream("GET", path, headers={"Last-Event-ID": "0"}, timeout=2) as answer:
            for chunk in answer.iter_bytes():
                received += chunk
    except httpx.TimeoutException:
        pass
    return received


def test_rule_7_no_page_of_the_console_has_a_secret(scene: Scene) -> None:
    url = json.loads(scene.platform.bond("--as", "ada", "open", "--print", "-o", "json").stdout)["url"]
    base = url.partition("/sign-in")[0]
    pages, visited = [], set()
    with httpx.Client(base_url=base, follow_redirects=True, timeout=60) as browser:
        browser.get(url)
        waiting = ["/", "/catalogue", "/services", "/approvals", "/campaigns", "/calendar", "/rules",
                   "/ledger", "/platform", "/services/payments/whole", "/campaigns/look",
                   "/campaigns/look/report"]  # fmt: skip
        while waiting and len(visited) < 150:
            path = waiting.pop(0)
            if path in visited:
                continue
            visited.add(path)
            answer = browser.get(path)
            assert answer.status_code < 500, path
            pages.append(answer.content)
            waiting += [link for link in links(answer.text) if link not in visited]
    whole = b"\n".join(pages)
    assert {"/services/payments/whole", "/services/payments/whole/operations/1"} <= visited
    assert scene.canaries.marker.encode() in whole
    assert scene.canaries.leaks(whole) == []


def links(page: str) -> list[str]:
    """Where a page leads to, without static files and fragments."""
    addresses = [part.partition('"')[0] for part in page.split('href="')[1:]]
    plain = [link.partition("#")[0].replace("&amp;", "&") for link in addresses]
    return [link for link in plain if link.startswith("/") and not link.startswith(("//", "/static", "/sign-in"))]


def test_rule_7_a_report_of_a_campaign_has_no_secret_in_any_format(scene: Scene) -> None:
    for form in ("json", "html", "csv", "junit", "table"):
        report = in_process(scene.platform, ["campaign", "report", "look", "-o", form])
        assert scene.canaries.leaks(report) == [], form


def test_rule_7_a_backup_has_no_secret(scene: Scene) -> None:
    file = scene.root / "backup.tar.gz"
    scene.platform.bond("backup", str(file), seconds=SECONDS)
    with tarfile.open(file) as archive:
        assert any("objects/" in name for name in archive.getnames())
    whole = archived(file.read_bytes())
    file.unlink()
    assert scene.canaries.marker.encode() in whole
    assert scene.canaries.leaks(whole) == []


async def test_rule_7_the_ledger_has_no_secret(scene: Scene) -> None:
    async with scene.platform.client() as bond:
        ledger = (await bond.connection.store()).ledger
        services = [service_id(f"failing/{fails}") for fails in FAILING] + [service_id("payments/whole")]
        records = [record.model_dump_json() for each in services for record in await ledger.history(each)]
    assert len(records) > len(FAILING)
    assert scene.canaries.leaks("\n".join(records).encode()) == []


def test_what_is_private_is_for_its_owner_alone(scene: Scene) -> None:
    # What tools make, in their runs and where the shipped promises keep services, has the rights they give it.
    # All of it is below a directory that nobody else enters.
    assert scene.platform.data.stat().st_mode & 0o077 == 0
    tools = [scene.platform.data / name for name in ("work", "services")]
    open_to_others = [
        f"{path.relative_to(scene.platform.data)} {path.stat().st_mode & 0o777:04o}"
        for path in scene.platform.data.rglob("*")
        if not path.is_symlink() and not any(map(path.is_relative_to, tools)) and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []
