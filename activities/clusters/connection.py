"""From the name of a cluster to a kubeconfig: one form for every tool and library, whatever the settings say."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref
from bondstone.base.cluster_settings import DEFAULT_CLUSTER, ClusterSettings, cluster_settings
from bondstone.base.errors import Refused, ToolUnavailable
from bondstone.base.files import write_private
from bondstone.base.settings import Settings
from bondstone.documents.json_in_yaml import json_in_yaml

CONNECTIONS_DIR: Final = "clusters"
"""Below the work directory: kubeconfigs made from settings. They name credentials, and hold none."""

_NAMED_FILE: Final = re.compile(
    r"""["']?(certificate-authority|client-certificate|client-key|tokenFile)["']?\s*:\s*("[^"\n]+"|[^\s,}]+)"""
)
_COMMAND: Final = re.compile(r"""["']?command["']?\s*:\s*("[^"\n]+"|[^\s,}]+)""")


@dataclass(frozen=True, slots=True)
class ClusterConnection:
    """How to reach one cluster."""

    name: str
    """As the pool calls it."""
    kubeconfig: Path
    """A file for `--kubeconfig` and for the client library."""
    context: str
    """Which of its contexts; empty for the current one."""
    settings: ClusterSettings

    def arguments(self) -> list[str]:
        """What `helm` is told."""
        context = ["--kube-context", self.context] if self.context else []
        return ["--kubeconfig", str(self.kubeconfig), *context]

    def files(self) -> tuple[Path, ...]:
        """What a process with this connection has to read: the kubeconfig, and the files that it names.

        A file beside which others are named (`tokenFile` of a pod) comes with its directory: it is a link there
        that changes when the token does.
        """
        try:
            text = self.kubeconfig.read_text(encoding="utf-8")
        except OSError:
            return (self.kubeconfig,)
        named = {path: word for word, path in _NAMED_FILE.findall(text)}
        files = [self.kubeconfig.parent / path.strip("\"'") for path in named]
        tokens = [
            self.kubeconfig.parent / path.strip("\"'") for path, word in named.items() if word == "tokenFile"
        ]
        programs = [
            Path(program) for name in _COMMAND.findall(text) if (program := shutil.which(name.strip("\"'")))
        ]
        return (self.kubeconfig, *files, *(path.parent for path in (*tokens, *programs)))

    def check_namespace(self, namespace: str, *, create: bool = False) -> None:
        """Refuse a namespace that the pool's settings do not allow.

        Raises:
            Refused: when a step may not use it, or asks to make it and may not.
        """
        self.settings.check_namespace(namespace, cluster=self.name, create=create)

    def check_object(self, ref: Ref) -> None:
        """Refuse an object where the pool's settings allow none.

        Raises:
            Refused: when it is in another namespace, or in none and the settings allow only some.
        """
        if ref.namespace:
            self.check_namespace(ref.namespace)
        elif ref.kind == "Namespace":
            self.check_namespace(ref.name, create=True)
        elif "*" not in self.settings.namespaces:
            raise Refused(
                f"steps may not touch what is in no namespace of cluster {self.name!r}: {ref.address}",
                hint="the pool's settings allow only some namespaces (BOND_CLUSTERS)",
            )


def connect(
    settings: Settings,
    name: str = DEFAULT_CLUSTER,
    *,
    environment: Mapping[str, str] = os.environ,
) -> ClusterConnection:
    """How to reach the cluster that a step names.

    Args:
        settings: Of the worker.
        name: What the step calls it; `default` when it names none.
        environment: The worker's, which in a pod names the API server.

    Raises:
        SettingsInvalid: when the pool has no such cluster.
        ToolUnavailable: when the kubeconfig or the service account is not there.
    """
    cluster = cluster_settings(settings.clusters, name)
    if cluster.kubeconfig is not None:
        if not cluster.kubeconfig.is_file():
            raise ToolUnavailable(
                f"the kubeconfig of cluster {name!r} is not there",
                where=str(cluster.kubeconfig),
                hint="give the worker that file, or correct BOND_CLUSTERS",
            )
        return ClusterConnection(name, cluster.kubeconfig.absolute(), cluster.context, cluster)
    content = (
        _in_cluster(name, cluster.service_account.absolute(), environment)
        if cluster.in_cluster
        else _by_program(cluster)
    )
    return ClusterConnection(name, _write(settings.work_dir.absolute() / CONNECTIONS_DIR, content), "", cluster)


def _in_cluster(name: str, account: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host or not (account / "token").is_file():
        raise ToolUnavailable(
            f"cluster {name!r} is the worker's own cluster, but this worker does not seem to run in a cluster",
            where=str(account / "token"),
            hint="a pod has KUBERNETES_SERVICE_HOST and a mounted service account token",
        )
    host = f"[{host}]" if ":" in host else host
    cluster = {"server": f"https://{host}:{port or 443}", "certificate-authority": str(account / "ca.crt")}
    return _kubeconfig(cluster, {"tokenFile": str(account / "token")})


def _by_program(settings: ClusterSettings) -> dict[str, Any]:
    program = settings.exec
    if program is None:
        raise AssertionError
    cluster = {"server": settings.server}
    if settings.certificate_authority is not None:
        cluster["certificate-authority"] = str(settings.certificate_authority.absolute())
    user = {
        "apiVersion": program.api_version,
        "command": program.command,
        "args": list(program.args),
        "env": [{"name": key, "value": value} for key, value in program.env.items()],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return _kubeconfig(cluster, {"exec": user})


def _kubeconfig(cluster: dict[str, str], user: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bondstone", "cluster": cluster}],
        "users": [{"name": "bondstone", "user": user}],
        "contexts": [{"name": "bondstone", "context": {"cluster": "bondstone", "user": "bondstone"}}],
        "current-context": "bondstone",
    }


def _write(directory: Path, content: dict[str, Any]) -> Path:
    """Keep a kubeconfig under the digest of its content, so that what runs with it never sees it change."""
    text = json_in_yaml(content).encode()
    path = directory / f"{hashlib.sha256(text).hexdigest()[:32]}.kubeconfig"
    if path.is_file():
        return path
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, text)
    return path
