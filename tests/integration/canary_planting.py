"""A platform on which a secret of every kind is planted by every way in, and what its commands said meanwhile."""

from __future__ import annotations

import base64
import json
import shutil
import sys
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx2 as httpx
from canary_kit import Canaries
from platforms import PROMISES, LocalPlatform

from harness.servers.kubernetes import ControlPlane
from harness.traces import Collector

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
        self.canaries.note(f"number of {of}", str(number))
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
