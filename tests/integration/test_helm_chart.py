"""The chart of Bondstone itself: linted, refused when values are wrong, installed into a real control plane."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bondstone.activities.container.jobs import manifests
from bondstone.base.cluster_settings import ContainerJobs
from bondstone.base.settings import Settings
from bondstone.workers.runtime import CANCEL_SECONDS
from harness.pinned import ROOT, ToolMissing, find
from harness.servers.kubernetes import ControlPlane

pytestmark = pytest.mark.integration

CHART = ROOT / "deploy" / "helm" / "bondstone"
VALUES: dict[str, Any] = {
    "images": {"control": "example/worker:1", "executor": "example/executor:1"},
    "temporal": {"address": "temporal.example:7233", "ui": "https://temporal.example"},
    "store": {"url": "s3://bucket/bond", "credentialsSecret": "store"},
    "keys": {"secret": "bond-keys"},
    "signing": {"secret": "bond-signing"},
    "codec": {"enabled": True, "tokenSecret": "codec-token"},
    "api": {
        "url": "https://bond.example.com",
        "issuers": [{"issuer": "https://id.example.com", "client_id": "bondstone"}],
        "admins": ["group:platform"],
    },
    "pools": {
        "default": {"replicas": 2, "drainSeconds": 120},
        "prod-eu": {"serves": ["prod-eu", "prod-eu-2"], "clusterRole": "edit", "credentialsSecret": "aws"},
    },
}


@pytest.fixture(scope="module")
def helm() -> Path:
    try:
        return find("helm")
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def values(tmp_path: Path) -> Path:
    path = tmp_path / "values.json"
    path.write_text(json.dumps(VALUES))
    return path


def run(*words: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, **(environment or {})}
    return subprocess.run(words, env=told, capture_output=True, text=True, check=False)


def rendered(helm: Path, values: Path, *more: str) -> list[dict[str, Any]]:
    done = run(helm, "template", "bond", CHART, "--kube-version", "1.37.0", "--values", values, *more)
    assert done.returncode == 0, done.stderr
    return [document for document in YAML(typ="safe").load_all(done.stdout) if document]


def deployments(documents: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    return {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]
        for document in documents
        if document["kind"] in {"Deployment", *kinds}
    }


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in pod["containers"][0]["env"]}


def test_it_lints(helm, values):
    done = run(helm, "lint", CHART, "--strict", "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ("images.control=worker", "/images/control"),
        ("store.url=file:///tmp", "/store/url"),
        ("temporal.address=temporal", "/temporal/address"),
        ("keys.secret=", "/keys/secret"),
        ("signing.secret=", "signing/secret"),
        ("attestation=maybe", "/attestation"),
        ("codec.tokenSecret=", "/codec/tokenSecret"),
        ("pools.default.slots=3", "/pools/default"),
        ("surprise=1", "surprise"),
    ],
)
def test_wrong_values_are_refused_by_the_schema(helm, values, wrong, where):
    done = run(helm, "template", "bond", CHART, "--kube-version", "1.37.0", "--values", values, "--set", wrong)
    assert done.returncode != 0
    assert where in done.stderr.replace(".", "/") or where.strip("/").replace("/", ".") in done.stderr


def test_pods_may_do_nothing_but_their_work(helm, values):
    for name, pod in deployments(rendered(helm, values), "Job").items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        for container in (*pod["containers"], *pod["initContainers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
        assert pod["automountServiceAccountToken"] is (name == "bond-executor-prod-eu")


def namespaces_of_steps(documents: list[dict[str, Any]]) -> list[str]:
    told = environment(deployments(documents)["bond-executor-default"])["BOND_CLUSTERS"]
    return json.loads(told)["default"]["namespaces"]


def test_a_pool_with_jobs_gets_their_rights_in_their_namespace_and_the_policy_that_keeps_them_off_the_network(
    helm, values
):
    by_tag = run(
        helm, "template", "bond", CHART, "--kube-version", "1.37.0", "--values", values,
        "--set", "pools.default.jobs.namespace=bond-jobs", "--set", "images.executor=registry/executor:1",
    )  # fmt: skip
    assert "name images.executor by its digest" in by_tag.stderr
    image = f"registry/executor@sha256:{'a' * 64}"
    beside_keys = run(
        helm, "template", "bond", CHART, "--kube-version", "1.37.0", "--values", values, "--namespace", "bond",
        "--set", "pools.default.jobs.namespace=bond", "--set", f"images.executor={image}",
    )  # fmt: skip
    assert "name a namespace of its own" in beside_keys.stderr
    jobs = ("--set", "pools.default.jobs.namespace=bond-jobs", "--set", f"images.executor={image}")
    documents = rendered(helm, values, *jobs)
    told = environment(deployments(documents)["bond-executor-default"])
    assert ContainerJobs.model_validate_json(told["BOND_CONTAINER_JOBS"]) == ContainerJobs(
        namespace="bond-jobs", collector=image
    )
    assert namespaces_of_steps(documents) == [], "a Helm step could work among the Jobs"
    both = rendered(helm, values, *jobs, "--set", "pools.default.clusterRole=edit", "--namespace", "bond")
    assert namespaces_of_steps(both) == ["bond"]
    [policy] = [each for each in documents if each["metadata"]["name"] == manifests.POLICY]
    assert (policy["metadata"]["namespace"], policy["spec"]) == ("bond-jobs", manifests.policy_manifest()["spec"])
    kinds = sorted(each["kind"] for each in documents if each["metadata"].get("namespace") == "bond-jobs")
    assert kinds == ["NetworkPolicy", "Role", "RoleBinding"]
    assert deployments(documents)["bond-executor-default"]["automountServiceAccountToken"] is True


def test_workers_are_told_settings_that_exist(helm, values):
    known = {f"BOND_{name.upper()}" for name in Settings.model_fields} | {"BOND_CODEC_TOKEN"}
    pods = deployments(rendered(helm, values))
    assert set(pods) == {
        "bond-api", "bond-control-1", "bond-codec", "bond-executor-default", "bond-executor-prod-eu"
    }  # fmt: skip
    for pod in deployments(rendered(helm, values), "Job").values():
        assert set(environment(pod)) <= known
    assert json.loads(environment(pods["bond-executor-prod-eu"])["BOND_POOLS"]) == ["prod-eu", "prod-eu-2"]
    assert json.loads(environment(pods["bond-executor-default"])["BOND_POOLS"]) == ["default"]


@pytest.mark.parametrize(
    ("inputs", "build"),
    [
        ({}, "1"),
        ({"images.control": "reg.example:5000/worker:v1.5.0_x"}, "v1.5.0_x"),
        ({"images.control": f"reg.example:5000/worker:1.5.0@sha256:{'0a' * 32}"}, "0a0a0a0a0a0a"),
        ({"control.build.name": "blue"}, "blue"),
        ({"control.build.enabled": "false"}, None),
    ],
)
def test_the_image_of_control_workers_is_their_build_unless_it_has_a_name(helm, values, inputs, build):
    result = rendered(helm, values, "--set", ",".join(f"{name}={value}" for name, value in inputs.items()))
    [(name, pod)] = [each for each in deployments(result).items() if each[0].startswith("bond-control")]
    assert environment(pod).get("BOND_BUILD_ID") == build
    assert name == (f"bond-control-{build}".replace(".", "-").replace("_", "-") if build else "bond-control")
    promotes = [pod["containers"][0]["command"][-3:] for pod in deployments(result, "Job").values() if build]
    assert ["worker", "promote", build] in promotes or build is None
    Settings(build_id=build or "")


def test_workers_are_traced_only_where_a_collector_is_named(helm, values):
    assert not [
        name for name in environment(deployments(rendered(helm, values))["bond-control-1"]) if "OTEL" in name
    ]
    traced = ["tracing.endpoint=http://collector:4318", "tracing.environment.OTEL_TRACES_SAMPLER=always_on"]
    result = deployments(rendered(helm, values, "--set", ",".join(traced)))
    for name in ("bond-control-1", "bond-executor-default", "bond-executor-prod-eu"):
        told = environment(result[name])
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        assert told["OTEL_TRACES_SAMPLER"] == "always_on"


def test_a_pool_with_a_cluster_role_is_told_of_this_cluster_and_no_other(helm, values, monkeypatch):
    result = deployments(rendered(helm, values, "--namespace", "bond-ns"))
    assert "BOND_CLUSTERS" not in environment(result["bond-executor-default"])
    monkeypatch.setenv("BOND_CLUSTERS", environment(result["bond-executor-prod-eu"])["BOND_CLUSTERS"])
    cluster = Settings.load().clusters["default"]
    assert (cluster.in_cluster, cluster.namespaces, cluster.create_namespaces) == (True, ("bond-ns",), False)


def test_pods_may_stop_for_longer_than_workers_drain(helm, values):
    result = deployments(rendered(helm, values))
    for name in ("bond-control-1", "bond-executor-default", "bond-executor-prod-eu"):
        drain = int(environment(result[name])["BOND_DRAIN_SECONDS"])
        assert result[name]["terminationGracePeriodSeconds"] >= drain + CANCEL_SECONDS + 10
    assert environment(result["bond-executor-default"])["BOND_DRAIN_SECONDS"] == "120"


def test_api_processes_know_where_people_sign_in_and_drain_before_they_are_killed(helm, values, monkeypatch):
    pod = deployments(rendered(helm, values, "--namespace", "bond-ns"))["bond-api"]
    for name, value in environment(pod).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.issuers[0].client_id == "bondstone"
    assert settings.admins == ("group:platform",)
    assert settings.api_hosts == ("bond-api", "bond-api.bond-ns.svc")
    assert set(settings.pools) == {"default", "prod-eu", "prod-eu-2"}
    [container] = pod["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_seconds + pause + 5


def test_credentials_of_a_pool_are_with_no_other(helm, values):
    result = deployments(rendered(helm, values))
    secrets = {
        name: [each["secretRef"]["name"] for each in pod["containers"][0].get("envFrom", ())]
        for name, pod in result.items()
    }
    assert secrets == {
        "bond-api": ["store"],
        "bond-control-1": ["store"],
        "bond-codec": [],
        "bond-executor-default": ["store"],
        "bond-executor-prod-eu": ["store", "aws"],
    }


def test_only_prometheus_may_connect_to_workers(helm, values):
    [policy, codec, api] = [each for each in rendered(helm, values) if each["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == [9464]
    assert codec["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "codec"
    assert api["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert api["spec"]["ingress"] == [{"ports": [{"port": 8080}]}]
    off = rendered(helm, values, "--set", "metrics.enabled=false,codec.enabled=false,api.enabled=false")
    assert [each["spec"]["ingress"] for each in off if each["kind"] == "NetworkPolicy"] == [[]]
    assert not [each for each in off if each["kind"] == "Service"]


def test_the_key_ring_is_copied_for_its_owner_alone(helm, values, tmp_path):
    """The init container's own program, on files as a mounted Secret has them, which `KeyRing.load` refuses."""
    pod = deployments(rendered(helm, values))["bond-control-1"]
    [program] = pod["initContainers"][0]["args"]
    mounted, keys = tmp_path / "mounted", tmp_path / "keys"
    mounted.mkdir()
    keys.mkdir()
    for name in ("keys.json", "payload-keys.json", "permit-keys.json"):
        (mounted / name).write_text(name)
        (mounted / name).chmod(0o440)
    program = program.replace('"/mounted"', repr(str(mounted))).replace("/keys/", f"{keys}/")
    exec(compile(program, "init", "exec"), {})  # noqa: S102 - the chart's own text
    for path in keys.iterdir():
        assert (path.read_text(), path.stat().st_mode & 0o777) == (path.name, 0o600)
    assert len(list(keys.iterdir())) == 3


def test_only_control_workers_hold_the_ring_that_signs_permits(helm, values):
    pods = deployments(rendered(helm, values))
    holding = {
        name: {
            item["key"]
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            for item in source["secret"].get("items", ())
        }
        for name, pod in pods.items()
        if "bond-signing" in json.dumps(pod)
    }
    assert holding == {"bond-control-1": {"permit-keys.json"}, "bond-api": {"attestation-keys.json"}}
    for name, pod in pods.items():
        if "codec" not in name:
            assert environment(pod)["BOND_ATTESTATION"] == "required"
    local = deployments(rendered(helm, values, "--set", "attestation=local", "--set", "signing.secret="))
    assert "permit-keys" not in json.dumps(local)


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"bond-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


def test_it_is_installed_upgraded_and_uninstalled(helm, values, control_plane, namespace):
    told = {**control_plane.environment, "HELM_CACHE_HOME": "", "HELM_DRIVER": "secret"}

    def ask(*words: str | Path) -> None:
        done = run(helm, "--namespace", namespace, *words, environment=told)
        assert done.returncode == 0, done.stdout + done.stderr

    ask("install", "bond", CHART, "--values", values, "--wait", "--timeout", "90s")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def ready() -> dict[str, int]:
        return {
            each["metadata"]["name"]: each["status"].get("readyReplicas", 0)
            for each in control_plane.call("GET", path)["items"]
        }

    others = {"bond-api": 2, "bond-codec": 1, "bond-executor-default": 2, "bond-executor-prod-eu": 1}
    assert ready() == {"bond-control-1": 2, **others}
    upgrade = ("upgrade", "bond", CHART, "--values", values, "--wait", "--timeout", "90s")
    ask(*upgrade, "--set", "control.replicas=3")
    assert ready() == {"bond-control-1": 3, **others}
    # Another build comes beside the one before, which has what it began; going back takes that one up again.
    ask(*upgrade, "--set", "images.control=example/worker:2")
    assert ready() == {"bond-control-1": 3, "bond-control-2": 2, **others}
    ask("rollback", "bond", "1", "--wait", "--timeout", "90s")
    assert ready() == {"bond-control-1": 2, "bond-control-2": 2, **others}
    ask("uninstall", "bond", "--wait", "--timeout", "60s")
    assert set(ready()) == {"bond-control-1", "bond-control-2"}
