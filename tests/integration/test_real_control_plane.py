"""The control plane that tests of Helm and Kubernetes stand on: charts install, pods run, secrets come back."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.pinned import TOOLS, ToolMissing, find
from harness.servers.kubernetes import STAYS_PENDING, ControlPlane

pytestmark = pytest.mark.integration

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\nkubeVersion: '>= 1.37.0'\n",
    "values.yaml": "password: correct horse\nannotations: {}\n",
    "templates/secret.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "stringData: {password: '{{ .Values.password }}'}\n"
    ),
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: 2
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}, annotations: {{ toJson .Values.annotations }}}
    spec: {containers: [{name: main, image: example/never-pulled:1}]}
""",
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata: {name: '{{ .Release.Name }}-hook', annotations: {helm.sh/hook: pre-install}}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: example/never-pulled:1}]}}
""",
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chart") / "tiny"
    for name, text in CHART.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


def helm(plane: ControlPlane, namespace: str, *arguments: str, status: int = 0) -> str:
    try:
        program = find("helm")
    except ToolMissing as error:
        pytest.skip(str(error))
    environment = {**os.environ, **plane.environment, "HELM_CACHE_HOME": "", "HELM_DRIVER": "secret"}
    done = subprocess.run(
        [program, "--namespace", namespace, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_a_chart_is_installed_and_its_pods_run(control_plane, namespace, chart):
    helm(control_plane, namespace, "install", "web", str(chart), "--wait", "--timeout", "60s")
    [release] = json.loads(helm(control_plane, namespace, "list", "-o", "json"))
    assert release["status"] == "deployed"
    deployment = control_plane.call("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert deployment["status"]["readyReplicas"] == 2
    pods = control_plane.call("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=app=tiny")["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 2
    secret = control_plane.call("GET", f"/api/v1/namespaces/{namespace}/secrets/web")
    assert base64.b64decode(secret["data"]["password"]) == b"correct horse"


def test_what_is_uninstalled_is_gone(control_plane, namespace, chart):
    helm(control_plane, namespace, "install", "web", str(chart), "--wait", "--timeout", "60s")
    helm(control_plane, namespace, "uninstall", "web", "--wait", "--timeout", "60s")
    assert json.loads(helm(control_plane, namespace, "list", "-a", "-o", "json")) == []
    with pytest.raises(urllib.error.HTTPError, match="404"):
        control_plane.call("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")


def test_pods_that_never_get_ready_make_helm_give_up(control_plane, namespace, chart):
    pending = f"annotations={json.dumps({STAYS_PENDING: 'yes'})}"
    helm(
        control_plane,
        namespace,
        *("install", "web", str(chart), "--wait", "--timeout", "3s", "--set-json", pending),
        status=1,
    )
    [release] = json.loads(helm(control_plane, namespace, "list", "-a", "-o", "json"))
    assert release["status"] == "failed"


def test_the_api_server_is_of_the_pinned_version(control_plane):
    assert control_plane.call("GET", "/version")["gitVersion"] == f"v{TOOLS['kube-apiserver'].version}"
