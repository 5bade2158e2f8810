"""What the tests of the Helm executor share: a chart on disk, a real store, contexts made by hand."""

from __future__ import annotations

import base64
import itertools
import json
import ssl
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.section import HelmSection
from bondstone.base.cluster_settings import ClusterSettings
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Outcome, Planned, StepContext
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress
from bondstone.store import Store
from harness.pinned import ToolMissing, find
from harness.servers.kubernetes import ControlPlane

STEP = "web"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\n",
    "values.yaml": (
        "replicas: 1\ncolour: blue\npassword: correct horse battery\n"
        "annotations: {}\nfinalizers: []\nenv: []\nextra: []\n"
    ),
    "templates/secret.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "stringData: {password: '{{ .Values.password }}', token: '{{ randAlphaNum 20 }}'}\n"
    ),
    "templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: '{{ .Release.Name }}', finalizers: {{ toJson .Values.finalizers }}}\n"
        "data: {colour: {{ .Values.colour }}}\n"
    ),
    "templates/extra.yaml": (
        "{{ range .Values.extra }}\n---\napiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: 'extra-{{ . }}'}\ndata: {of: {{ $.Release.Name }}}\n{{ end }}\n"
    ),
    "templates/service.yaml": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "spec: {selector: {app: tiny}, ports: [{name: http, port: 80}]}\n"
    ),
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}, annotations: {{ toJson .Values.annotations }}}
    spec:
      containers:
        - name: main
          image: example/never-pulled:1
          resources: {requests: {cpu: 1000m}}
          env: {{ toJson .Values.env }}
""",
}
# Without a random value, which would make every plan change something.
STEADY = {**CHART, "templates/secret.yaml": CHART["templates/secret.yaml"].replace("{{ randAlphaNum 20 }}", "x")}
OUTPUTS = {
    "address": {"from": "Service/orders-web", "path": "{.spec.clusterIP}"},
    "password": {"from": "Secret/orders-web", "path": "{.data.password}"},
}


def write_chart(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


HELMS = ("helm", "helm4")
"""Both supported versions, as `make tools` names them."""
ONE_HELM = pytest.mark.parametrize("bench", ["helm"], indirect=True)
"""Of a test whose outcome we decide ourselves, before Helm changes anything: the versions do not differ there."""


def helm(name: str = "helm") -> str:
    try:
        return str(find(name))
    except ToolMissing as error:
        pytest.skip(str(error))


@dataclass
class Bench:
    """One worker's view of one service: what the activities would hand to the executor."""

    root: Path
    plane: ControlPlane
    namespace: str
    store: Store
    settings: Settings
    service: ServiceId
    executor: HelmExecutor = field(default_factory=HelmExecutor)
    tool: str = "helm"
    beats: list[Progress] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    attempts: itertools.count = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(
        cls, root: Path, plane: ControlPlane, namespace: str, files=None, *, tool: str = "helm"
    ) -> Bench:
        write_chart(root / "bundle" / "chart", files or STEADY)
        clusters = {"default": ClusterSettings(kubeconfig=plane.kubeconfig)}
        settings = Settings(data=root / "data", helm=helm(tool), clusters=clusters)
        service = ServiceId(team="shop", name="orders")
        store = await Store.open(settings, create_keys=True)
        return cls(root, plane, namespace, store, settings, service, tool=tool)

    def context(self, *, attempt: str = "", secrets=(), options=None, **values: object) -> StepContext:
        inputs = {"chart": "chart", "namespace": self.namespace, "timeout": "30s", **(options or {})}
        return StepContext(
            service=self.service,
            operation=1,
            step=STEP,
            section=HelmSection.model_validate({**inputs, "values": values}),
            bundle=self.root / "bundle",
            revision_digest="digest-of-the-bundle",
            state=self.store.state(self.service, STEP),
            settings=self.settings,
            attempt=attempt or f"attempt-{uuid.uuid4().hex[:6]}-{next(self.attempts)}",
            heartbeat=self.beats.append,
            log=self.log.append,
            secrets=frozenset(secrets),
        )

    async def plan(self, **options: object) -> Planned:
        return await self.executor.plan(self.context(**options))

    async def apply(self, planned: Planned, **options: object) -> Outcome:
        return await self.executor.apply(self.context(**options), planned.artefact, planned.position)

    async def provision(self, **options: object) -> Outcome:
        return await self.apply(await self.plan(**options), **options)

    async def destroy(self, **options: object) -> Outcome:
        planned = await self.executor.plan_destroy(self.context(**options))
        return await self.apply(planned, **options)

    async def drift(self, **options: object):
        return (await self.executor.detect_drift(self.context(**options))).changes

    def get(self, path: str):
        return self.plane.call("GET", path.format(ns=self.namespace))

    def patch(self, path: str, body: object) -> None:
        config = json.loads(self.plane.kubeconfig.read_text())
        cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
        trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        request = urllib.request.Request(  # noqa: S310 - a URL of ours
            cluster["server"] + path.format(ns=self.namespace),
            method="PATCH",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"},
        )
        urllib.request.urlopen(request, timeout=10, context=trust).close()  # noqa: S310 - a URL of ours

    def statuses(self) -> dict[int, str]:
        path = f"/api/v1/namespaces/{self.namespace}/secrets?labelSelector=owner%3Dhelm"
        released = [item["metadata"]["labels"] for item in self.plane.call("GET", path)["items"]]
        return {
            int(labels["version"]): labels["status"]
            for labels in sorted(released, key=lambda it: int(it["version"]))
        }
