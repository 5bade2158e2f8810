"""The objects of one run: a Job, its Secret, and the policy that keeps pods off the network. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bondstone.activities.container.contract import INPUT, OUTPUT
from bondstone.activities.container.documents import ContainerJob
from bondstone.base.canonical import digest
from bondstone.base.cluster_settings import ContainerJobs

STEP: Final = "step"
"""The container of the image."""
COLLECTOR: Final = "collector"
LABEL: Final = "bondstone.dev/container-step"
"""On every Job: whose it is."""
NETWORK_LABEL: Final = "bondstone.dev/network"
POLICY: Final = "bondstone-no-network"
"""Name of the NetworkPolicy."""
KEY: Final = "collector-key"
"""In the Secret: what the output is sealed with."""
MAX_SECRET_BYTES: Final = 1_000_000
"""Kubernetes takes 1 MiB."""

_NOBODY: Final = 65534
_KEY_FOLDER: Final = "/bond/key"
_GRACE_SECONDS: Final = 5
_OUTPUT_SIZE: Final = "64Mi"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of an image."""

    name: str
    """Of the Job and of its Secret."""
    owner: str
    job: ContainerJob
    action: str
    keep_seconds: int
    """How long it stays when it has ended and nobody has taken it away."""


def owner_label(owner: str) -> str:
    """What an owner is as a value of a label."""
    return digest(owner.encode())[:32]


def job_manifest(run: JobRun, settings: ContainerJobs, secret: Mapping[str, str]) -> dict[str, Any]:
    """The Job, suspended: nothing starts before its Secret is there.

    Args:
        run: What to run.
        settings: Of the pool.
        secret: Path below the input by key of the Secret.
    """
    name, job = run.name, run.job
    labels = {LABEL: owner_label(run.owner), "app.kubernetes.io/managed-by": "bondstone"}
    environment = {"BOND_ACTION": run.action, **job.env}
    step = {
        "name": STEP,
        "image": job.image,
        **({"args": [_literal(text) for text in job.command]} if job.command else {}),
        "env": [{"name": key, "value": _literal(value)} for key, value in environment.items()],
        "workingDir": "/",
        "resources": _resources(max(1, round(job.cpus * 1000)), job.memory_mib),
        "securityContext": _LOCKED_UP,
        # the one file that is wanted of an image that failed: kubelets hand over 4 KiB of it in the pod's status
        "terminationMessagePath": f"{OUTPUT}/error.json",
        "volumeMounts": [
            _mount("input", INPUT, read_only=True),
            _mount("output", OUTPUT),
            _mount("scratch", "/tmp"),  # noqa: S108 - as podman has it beside a root that is only read
        ],
    }
    collector = {
        "name": COLLECTOR,
        "image": settings.collector,
        "command": [
            "python",
            "-m",
            "bondstone.activities.container.jobs.collector",
            name,
            OUTPUT,
            f"{_KEY_FOLDER}/key",
        ],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "resources": _resources(500, 128),
        "securityContext": _LOCKED_UP,
        "volumeMounts": [_mount("output", OUTPUT, read_only=True), _mount("key", _KEY_FOLDER, read_only=True)],
    }
    items = [{"key": key, "path": path} for key, path in sorted(secret.items())]
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "fsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [step],
        "containers": [collector],
        "volumes": [
            {"name": "input", "secret": {"secretName": name, "items": items, "defaultMode": 0o440}},
            {
                "name": "key",
                "secret": {"secretName": name, "items": [{"key": KEY, "path": "key"}], "defaultMode": 0o440},
            },
            {"name": "output", "emptyDir": {"sizeLimit": _OUTPUT_SIZE}},
            {"name": "scratch", "emptyDir": {"sizeLimit": _OUTPUT_SIZE}},
        ],
        **(
            {"imagePullSecrets": [{"name": each} for each in settings.pull_secrets]}
            if settings.pull_secrets
            else {}
        ),
        **({"nodeSelector": settings.node_selector} if settings.node_selector else {}),
        **({"tolerations": list(settings.tolerations)} if settings.tolerations else {}),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": {LABEL: run.owner}},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": job.time_seconds,
            "ttlSecondsAfterFinished": run.keep_seconds,
            "template": {"metadata": {"labels": {**labels, NETWORK_LABEL: job.network}}, "spec": pod},
        },
    }


def secret_manifest(name: str, uid: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    """The Secret of a Job, gone with it at the latest."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "ownerReferences": [owner]},
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def policy_manifest() -> dict[str, Any]:
    """What keeps pods of steps with `network: none` off the network, where the cluster's network enforces it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "podSelector": {"matchLabels": {NETWORK_LABEL: "none"}},
            "policyTypes": ["Ingress", "Egress"],
        },
    }


def input_files(directory: Path) -> dict[str, tuple[str, bytes]]:
    """The files below a directory: path below it and content, by key of a Secret."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        ".".join(file.relative_to(directory).parts): (str(file.relative_to(directory)), file.read_bytes())
        for file in files
    }


_LOCKED_UP: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _literal(text: str) -> str:
    """A text as a pod has to say it: in `env` and `args` kubelets put a variable in the place of `$(NAME)`."""
    return text.replace("$", "$$")


def _resources(millicores: int, mebibytes: int) -> dict[str, Any]:
    memory = f"{mebibytes}Mi"
    most = {"cpu": f"{millicores}m", "memory": memory, "ephemeral-storage": "128Mi"}
    return {"limits": most, "requests": {"cpu": f"{min(50, millicores)}m", "memory": memory}}


def _mount(name: str, path: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": read_only}
