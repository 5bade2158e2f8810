"""Every way to reach a cluster, with an account that may do what is needed and no more: charts and manifests."""

from __future__ import annotations

import base64
import json
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_kit
import kubernetes_kit
import pytest

from bondstone.activities.clusters import connect
from bondstone.base.cluster_settings import ClusterSettings
from bondstone.base.errors import BondError, SettingsInvalid, ToolFailed, ToolUnavailable
from harness.servers.kubernetes import ControlPlane

pytestmark = pytest.mark.integration

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: manifest}\ndata: {key: v}\n"


@dataclass
class Account:
    """A service account with all rights in one namespace, and its credentials as a pod has them."""

    plane: ControlPlane
    namespace: str
    folder: Path
    """With `token`, `ca.crt` and `plugin.py`, which prints the token as an ExecCredential."""

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text()

    def in_cluster(self) -> dict[str, Any]:
        return {"in_cluster": True, "service_account": str(self.folder)}

    def program(self) -> dict[str, Any]:
        request = {"command": sys.executable, "args": [str(self.folder / "plugin.py")], "env": {"WHOSE": "token"}}
        ca = str(self.folder / "ca.crt")
        return {"exec": request, "server": self.plane.url, "certificate_authority": ca}

    def kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig as cloud providers write it: a program for the credentials, in a context among others."""
        written = json.loads(self.plane.kubeconfig.read_text())
        program = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(self.folder / "plugin.py")],
            "env": [{"name": "WHOSE", "value": "token"}],
            "interactiveMode": "Never",
        }
        written["users"] = [
            {"name": "cloud", "user": {"exec": program}},
            {"name": "test", "user": {"token": "of-nobody"}},
        ]
        written["contexts"].append({"name": "cloud", "context": {"cluster": "test", "user": "cloud"}})
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps(written))
        return {"kubeconfig": str(path), "context": "cloud"}


@pytest.fixture(scope="module")
def account(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    name, folder = f"conn-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("account")
    call = control_plane.call
    call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "worker"}})
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "worker"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": name}],
    }
    call("POST", f"/apis/{group}/v1/namespaces/{name}/rolebindings", binding)
    answer = call("POST", f"/api/v1/namespaces/{name}/serviceaccounts/worker/token", {"spec": {}})
    (folder / "token").write_text(answer["status"]["token"])
    cluster = json.loads(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (folder / "plugin.py").write_text(
        "import json, os, pathlib\n"
        "token = (pathlib.Path(__file__).parent / os.environ['WHOSE']).read_text()\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    yield Account(control_plane, name, folder)
    call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(autouse=True)
def _pod(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pod's environment says of the API server; and what must not be looked at."""
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")


WAYS: list[Callable[[Account], dict[str, Any]]] = [Account.in_cluster, Account.program, Account.kubeconfig]


async def charts(root: Path, account: Account, way: dict[str, Any], namespace: str = "") -> helm_kit.Bench:
    bench = await helm_kit.Bench.open(root, account.plane, namespace or account.namespace)
    clusters = {"default": ClusterSettings.model_validate(way)}
    bench.settings = bench.settings.changed(clusters=clusters)
    return bench


async def manifests(root: Path, account: Account, way: dict[str, Any]) -> kubernetes_kit.Bench:
    bench = await kubernetes_kit.Bench.open(root, account.plane.kubeconfig, account.namespace)
    clusters = {"default": ClusterSettings.model_validate(way)}
    bench.settings = bench.settings.changed(clusters=clusters)
    bench.write(CONFIG)
    return bench


@pytest.mark.parametrize("way", WAYS)
async def test_a_chart_comes_is_looked_at_and_goes(tmp_path, account, way):
    bench = await charts(tmp_path, account, way(account))
    await bench.provision(replicas=0)
    assert await bench.drift() == []
    await bench.destroy()
    assert bench.statuses() == {}
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path for path in kept if account.token.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("way", WAYS)
async def test_manifests_come_are_looked_at_and_go(tmp_path, account, way):
    bench = await manifests(tmp_path, account, way(account))
    await bench.provision()
    assert await bench.drift() == []
    await bench.destroy()
    assert (await bench.inventory())["objects"] == []


async def test_what_the_account_may_not_is_said(tmp_path, account):
    bench = await charts(tmp_path, account, account.program(), "default")
    with pytest.raises(ToolFailed, match=r"system:serviceaccount:.*:worker") as caught:
        await bench.plan()
    assert "RBAC" in caught.value.hint


async def test_what_stands_on_another_object_of_the_same_step_is_not_tried_before_that_is_there(tmp_path, account):
    """The API server refuses a binding to a Role that is not there, from whoever has not all rights."""
    bench = await manifests(tmp_path, account, account.in_cluster())
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "app"}}
    role["rules"] = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    bound = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": "app"}}
    bound["roleRef"] = {"apiGroup": group, "kind": "Role", "name": "app"}
    options = {"manifests": [bound, role]}
    await bench.provision(**options)
    assert (await bench.plan(**options)).empty
    await bench.destroy(**options)
    with pytest.raises(ToolFailed, match='"app" not found'):
        await bench.plan(manifests=[bound])


async def test_a_token_that_was_renewed_is_read_anew(tmp_path, account):
    bench = await manifests(tmp_path, account, account.in_cluster())
    good = account.token
    try:
        (account.folder / "token").write_text("expired")
        with pytest.raises(BondError, match="401") as caught:
            await bench.plan()
        assert "BOND_CLUSTERS" in caught.value.hint
        assert "expired" not in str(caught.value)
    finally:
        (account.folder / "token").write_text(good)
    assert not (await bench.plan()).empty


async def test_a_program_that_fails_is_said_and_worth_another_try(tmp_path, account):
    way = account.program()
    way["exec"]["env"] = {"WHOSE": "no-such-file"}
    bench = await charts(tmp_path, account, way)
    with pytest.raises(ToolUnavailable, match="credentials of cluster 'default' cannot be used"):
        await bench.plan()


async def test_outside_a_pod_there_is_no_cluster_of_its_own(tmp_path, account, monkeypatch):
    bench = await manifests(tmp_path, account, {"in_cluster": True})
    with pytest.raises(ToolUnavailable, match="does not seem to run in a cluster"):
        await bench.plan()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    bench = await manifests(tmp_path, account, account.in_cluster())
    with pytest.raises(ToolUnavailable, match="does not seem to run in a cluster"):
        await bench.plan()
    with pytest.raises(SettingsInvalid, match="knows no Kubernetes cluster named 'edge'"):
        await bench.plan(cluster="edge")


async def test_what_is_written_of_a_connection_names_credentials_and_holds_none(tmp_path, account):
    for way in (account.in_cluster(), account.program()):
        bench = await manifests(tmp_path, account, way)
        path = connect(bench.settings).kubeconfig
        assert account.token not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
