"""Rule 7 through every tool and every door: three executors, parts, adoption, campaigns, schedules, traces.

`test_canaries.py` plants few secrets and looks closely; this plants one of every kind by every way in, and
searches whatever the platform writes, sends or shows. Beside each secret goes a plain marker, which must be found.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tarfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from canary_kit import Canaries, archived
from helm_kit import helm
from platforms import PROMISES, LocalPlatform, running
from test_canaries import files, in_process

from bondstone.temporal.service_ids import service_id
from harness.servers.kubernetes import ControlPlane
from harness.servers.process import low_port
from harness.traces import Collector, collecting

pytestmark = [pytest.mark.integration, pytest.mark.timeout(700)]

FAILING = ("terraform", "output", "helm", "kubernetes", "health", "policy")
SECONDS = 240

PAIR = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: pair, version: 1.0.0, title: A service with a part, owner: tests}
spec:
  inputs:
    type: object
    required: [marker, salt, password, token]
    additionalProperties: false
    properties:
      marker: {type: string}
      salt: {type: string}
      password: {type: string, minLength: 8, writeOnly: true}
      token: {type: string, minLength: 8, writeOnly: true}
  requires:
    - as: vault
      promise: leaky
      version: ">=1.0 <2"
      inputs: {marker: "${inputs.marker}", salt: "${inputs.salt}", password: "${inputs.password}",
               auth: {token: "${inputs.token}"}}
  outputs:
    url: {value: "${requires.vault.outputs.url}", secret: true}
  steps:
    - id: vault-again
      terraform:
        module: terraform/vault
        variables: {marker: "${inputs.marker}", salt: "${inputs.salt}", careless: nowhere,
                    password: "${requires.vault.outputs.url}", token: "${requires.vault.outputs.made}"}
"""

CAMPAIGN = """
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: look, owner: tests, reason: to look for drift}
spec:
  operation: reconcile
  promise: planted
  select: {where: "team == 'payments'"}
  waves: [{name: all, percent: 100}]
"""

UPDATE = """
apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: rotate, reason: all get the same}
spec:
  operation: update
  promise: planted
  inputs: {auth: {token: TOKEN}}
  select: {where: "team == 'payments'"}
  waves: [{name: all, percent: 100}]
"""


@dataclass
class Scene:
    """A platform on which everything has been planted, and what its commands said meanwhile."""

    platform: LocalPlatform
    root: Path
    canaries: Canaries
    collector: Collector
    plane: ControlPlane
    metrics_port: int
    namespace: str = field(default_factory=lambda: f"planted-{uuid.uuid4().hex[:8]}")
    address: str = ""
    printed: list[str] = field(default_factory=list)

    def bond(self, *arguments: str, stdin: str | None = None, status: int | None = 0) -> str:
        """Run a command, and keep what it says."""
        ran = self.platform.bond(*arguments, stdin_text=stdin, status=status, seconds=SECONDS)
        self.printed.append(f"{ran.stdout}\n{ran.stderr}")
        return ran.stdout

    def inputs(self, of: str, fails: str = "nowhere") -> dict[str, Any]:
        """The inputs of one service: a canary in each secret."""

        def text(what: str) -> str:
            return self.canaries.text(f"{what} of {of}")

        lines = [base64.b64encode(text(f"pem line {line}").encode()).decode() for line in range(3)]
        number = int.from_bytes(uuid.uuid4().bytes[:6]) | 1 << 47
        self.canaries.own(f"number of {of}", str(number))
        half = len(self.canaries.beginning) // 2
        return {
            "marker": self.canaries.marker,
            "left": self.canaries.beginning[:half],
            "right": self.canaries.beginning[half:],
            "python": sys.executable,
            "namespace": self.namespace,
            "address": "http://127.0.0.1:9" if fails == "health" else self.address,
            "fails": fails,
            "text": f'{text("text")} "quoted" <b>&\\ é+/\n{text("second line")}',
            "pem": "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""]),
            "number": number,
            "list": [text("first item"), text("second item")],
            "map": {"one": text("member"), "two": text("other member")},
            "auth": {"token": text("token")},
            "chart": {each: text(f"chart {each}") for each in ("value", "note", "config", "env", "label")},
            "manifest": {
                **{each: text(f"manifest {each}") for each in ("secret", "config", "annotation", "port")},
                "data": base64.b64encode(text("manifest data").encode()).decode(),
            },
            "late": text("input below allOf"),
        }


class Anything(BaseHTTPRequestHandler):
    """A service that answers every probe."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


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


def plant(scene: Scene) -> None:
    """Every way in; the requests run while the next ones are made."""
    pair = scene.root / "pair"
    shutil.copytree(PROMISES / "leaky" / "terraform", pair / "terraform")
    (pair / "promise.yaml").write_text(PAIR)
    in_the_cluster(scene)
    for folder in (PROMISES / "planted", PROMISES / "leaky", PROMISES / "held", pair):
        scene.bond("promise", "publish", str(folder))
    request(scene, "payments/whole")
    for fails in FAILING:
        request(scene, f"failing/{fails}", fails)
    request_with_a_part(scene)
    adopt(scene)
    refusals(scene)
    for fails in FAILING:
        scene.bond("service", "wait", f"failing/{fails}", status=None)
    for service in ("payments/whole", "parts/whole"):
        scene.bond("service", "wait", service)
    day_two(scene)


def in_the_cluster(scene: Scene) -> None:
    """A namespace with a Secret that somebody else made."""
    scene.plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": scene.namespace}})
    value = scene.canaries.text("a Secret that was there before")
    secret = {"metadata": {"name": "found"}, "stringData": {"found": value}}
    scene.plane.call("POST", f"/api/v1/namespaces/{scene.namespace}/secrets", secret)


def request(scene: Scene, service: str, fails: str = "nowhere") -> None:
    values = json.dumps(scene.inputs(service, fails))
    scene.bond("service", "request", "planted", service, "-f", "-", stdin=values)


def request_with_a_part(scene: Scene) -> None:
    inputs = {"marker": scene.canaries.marker, "salt": uuid.uuid4().hex}
    inputs |= {each: scene.canaries.text(f"{each} of a part") for each in ("password", "token")}
    scene.bond("service", "request", "pair", "parts/whole", "-f", "-", stdin=json.dumps(inputs))


def adopt(scene: Scene) -> None:
    """A state of plain Terraform with secrets; then one that is pushed, with others."""
    state = {
        "version": 4,
        "terraform_version": "1.5.0",
        "serial": 3,
        "lineage": str(uuid.uuid4()),
        "outputs": {
            "key": {"value": scene.canaries.text("an adopted output"), "type": "string", "sensitive": True}
        },
        "resources": [
            {
                "mode": "managed",
                "type": "terraform_data",
                "name": "thing_0",
                "provider": 'provider["terraform.io/builtin/terraform"]',
                "instances": [
                    {
                        "schema_version": 0,
                        "attributes": {
                            "id": "1",
                            "input": {
                                "value": {"value": "one", "token": scene.canaries.text("an adopted attribute")},
                                "type": ["object", {"value": "string", "token": "string"}],
                            },
                            "output": None,
                            "triggers_replace": None,
                        },
                        "sensitive_attributes": [[{"type": "get_attr", "value": "input"}]],
                    }
                ],
            }
        ],
    }
    file = scene.root / "adopted.tfstate"
    file.write_text(json.dumps(state))
    secret = scene.canaries.text("a secret of what is adopted")
    made = scene.root / "made.txt"
    inputs = ["--set", f"made={made}", "--secret", "token"]
    scene.bond("service", "adopt", "held", "adopted/one", f"--state={file}", *inputs, stdin=secret)
    scene.bond("service", "wait", "adopted/one", status=None)
    scene.bond("service", "cancel", "adopted/one", "--wait", status=None)
    state["serial"] = 9
    state["outputs"]["key"]["value"] = scene.canaries.text("a pushed output")
    file.write_text(json.dumps(state))
    scene.bond("state", "push", "adopted/one", str(file), "--force", "--reason", "mended", status=None)
    file.write_text(json.dumps(state)[:-40])
    scene.bond("state", "push", "adopted/one", str(file), status=None)
    file.unlink()


def refusals(scene: Scene) -> None:
    """Secrets in what is refused, at every door: a message may name the field and never repeat the value."""
    text, whole = scene.canaries.text, scene.inputs("a refusal")
    command = ["service", "request", "planted", "payments/refused", "-f", "-"]
    for what, wrong in {
        "a wrong type": {"text": {"key": text("a wrong type")}},
        "a short text": {"text": "short", "list": text("a list that is none")},
        "an unknown name": {"textt": text("an unknown name")},
        "a reference": {"marker": {"$secret": f"secrets/payments/other/{text('a reference')}"}},
        "a member": {"auth": {"token": text("another token"), "tokn": text("an unknown member")}},
    }.items():
        scene.bond(*command, stdin=json.dumps({**whole, **wrong}), status=None)
        body = {"promise": "planted", "service": "payments/refused", "inputs": {**whole, **wrong}}
        with scene_api(scene) as api:
            answer = api.post("/services", json=body)
        assert answer.status_code in {400, 403, 404, 422}, (what, answer.text)
        scene.printed.append(answer.text)
    scene.bond(*command, stdin=f"text: [{text('not YAML')}\nmore: }}", status=2)
    scene.bond("service", "request", "planted", "payments/refused", f"--secret=text={text('beside')}", status=2)
    update = UPDATE.replace("TOKEN", text("an input of a schedule"))
    scene.bond("schedule", "create", "leaking", "-f", "-", "--cron", "0 1 * * *", stdin=update, status=2)
    campaign = UPDATE.replace("Strategy", "Campaign").replace("metadata: {", "metadata: {owner: tests, ")
    campaign = campaign.replace("TOKEN", text("an input of a campaign"))
    for act in ("run", "validate", "preview"):
        scene.bond("campaign", act, "-f", "-", stdin=campaign, status=None)
    with scene_api(scene) as api:
        scene.printed.append(api.post("/campaigns", content=campaign).text)


def day_two(scene: Scene) -> None:
    """What comes after the first request: new values, drift, campaigns, schedules, going back, the end."""
    service, text = "payments/whole", scene.canaries.text
    scene.bond("service", "update", service, "--secret", "auth.token", "--wait", stdin=text("a newer token"))
    live = text("what somebody put into the cluster")
    path = f"/api/v1/namespaces/{scene.namespace}/secrets/whole-app"
    secret = scene.plane.call("GET", path)
    secret["data"]["secret"] = base64.b64encode(live.encode()).decode()
    scene.plane.call("PUT", path, secret)
    scene.bond("service", "reconcile", service, "--wait", status=None)
    scene.bond("service", "reconcile", service, "--repair", "--wait")
    scene.bond("campaign", "run", "-f", "-", "--wait", stdin=CAMPAIGN)
    strategy = CAMPAIGN.replace("Campaign", "Strategy").replace("owner: tests, ", "")
    scene.bond("schedule", "create", "nightly", "-f", "-", "--cron", "0 1 * * *", "--paused", stdin=strategy)
    scene.bond("schedule", "trigger", "nightly", "--reason", "now")
    scene.bond("service", "update", service, "--set", "fails=helm", "--wait", status=1)
    scene.bond("service", "retry", service, "--wait", status=1)
    scene.bond("service", "update", service, "--set", "fails=nowhere", "--wait")


def scene_api(scene: Scene) -> httpx.Client:
    token = (scene.platform.data / "api-token").read_text().strip()
    base = f"{scene.platform.settings.api}/api/v1"
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60)


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
