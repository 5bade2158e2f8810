"""A service of Terraform and Helm through its life, by the command and real workflows: the promise `web-app`."""

from __future__ import annotations

import base64
import json
import sqlite3
import urllib.error
import uuid
from collections.abc import Iterator

import pytest
from helm_kit import helm
from platforms import LocalPlatform, running

from bondstone.promises import catalogue

pytestmark = pytest.mark.integration

KEY = "canary-of-sixteen-letters-or-more"
SERVICE = "shop/web"


@pytest.fixture(scope="module")
def platform(control_plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    clusters = {"default": {"kubeconfig": str(control_plane.kubeconfig)}}
    environment = {"BOND_HELM": helm(), "BOND_CLUSTERS": json.dumps(clusters), "BOND_LOG_LEVEL": "debug"}
    with running(tmp_path_factory.mktemp("helm") / "data", environment) as local:
        [promise] = [folder for folder in catalogue() if folder.name == "web-app"]
        local.bond("promise", "publish", str(promise))
        yield local


def outputs(platform: LocalPlatform, *options: str) -> dict[str, str]:
    return json.loads(platform.bond("service", "outputs", SERVICE, *options, "-o", "json").stdout)


def forms(secret: str) -> list[bytes]:
    shifted = [base64.b64encode(b"\0" * offset + secret.encode())[4:-4] for offset in range(3)]
    return [secret.encode(), *shifted]


def leaks(platform: LocalPlatform) -> list[str]:
    """Files of the platform, Temporal's database among them, that hold the key in plain."""
    database = next(platform.data.rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        dump = "\n".join(connection.iterdump()).encode()
    files = [path for path in platform.data.rglob("*") if path.is_file() and "keys" not in path.name]
    result = [str(path) for path in files if any(form in path.read_bytes() for form in forms(KEY))]
    return result + (["the histories"] if any(form in dump for form in forms(KEY)) else [])


def test_a_service_of_terraform_and_helm_lives_and_ends(platform, control_plane):
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    settings = ["--set", f"namespace={namespace}"]

    request = ["service", "request", "web-app", SERVICE, "--set", "image=example/shop:1.4", *settings]
    dry = platform.bond(*request, "--dry-run").stdout
    assert "app" in dry
    platform.bond(*request, "--secret", "apiKey", "--wait", stdin_text=KEY, seconds=150)
    deployment = control_plane.call("GET", path)
    assert deployment["status"]["readyReplicas"] == 2
    config = control_plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/web")["data"]
    shown = outputs(platform)
    assert shown["url"] == f"http://web.{namespace}.svc"
    assert shown["clusterIP"].startswith("10.96.")
    assert shown["clientId"] == config["clientId"]
    assert KEY not in json.dumps(shown)
    assert outputs(platform, "--reveal")["apiKey"] == KEY

    platform.bond("service", "update", SERVICE, "--set", "replicas=1", "--wait", seconds=150)
    assert control_plane.call("GET", path)["spec"]["replicas"] == 1

    control_plane.call("DELETE", f"/api/v1/namespaces/{namespace}/services/web")
    assert "v1/Service" in platform.bond("service", "reconcile", SERVICE, "--wait", status=None).stdout
    platform.bond("service", "reconcile", SERVICE, "--repair", "--wait", seconds=150)
    assert control_plane.call("GET", f"/api/v1/namespaces/{namespace}/services/web")["kind"] == "Service"

    logs = platform.bond("service", "logs", SERVICE).stdout
    history = platform.bond("service", "history", SERVICE, "-o", "json").stdout
    assert KEY not in logs + history
    assert leaks(platform) == []

    platform.bond("service", "decommission", SERVICE, "--yes", "--wait", seconds=150)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        control_plane.call("GET", path)
    assert control_plane.call("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"] == []
    control_plane.call("DELETE", f"/api/v1/namespaces/{namespace}")
