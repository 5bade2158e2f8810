"""Container steps as Jobs, without a cluster: frames in logs, the objects, what a Job and its pod say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bondstone.activities.container.contract import KILLED, MAX_FILE_BYTES
from bondstone.activities.container.documents import ContainerJob
from bondstone.activities.container.jobs import collector, manifests
from bondstone.activities.container.jobs.frames import Collected, FrameError, opened, sealed_lines
from bondstone.activities.container.jobs.state import error_file, job_state
from bondstone.base.cluster_settings import ContainerJobs

KEY = bytes(range(32))
DIGEST = "a" * 64


def settings(**more: Any) -> ContainerJobs:
    return ContainerJobs.model_validate({"namespace": "jobs", "collector": f"x/y@sha256:{DIGEST}", **more})


def test_what_is_sealed_into_a_log_comes_out_whole_between_other_lines():
    collected = Collected({"outputs.json": b"x" * 100_000, "plan.json": b""}, "a problem")
    lines = list(sealed_lines(collected, KEY, "job-1"))
    assert len(lines) > 10
    assert max(map(len, lines)) < 16_384, "container runtimes split longer ones"
    log = "\n".join(["a warning", *reversed(lines), "another"])
    assert opened(log, KEY, "job-1") == collected
    assert "eHh4" not in log, "nobody reads it without the key"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lines: lines[1:], r"has \d+ of \d+ lines"),
        (lambda lines: lines[:-1], r"has \d+ of \d+ lines"),
        (lambda _: [], "has 0 of 1 lines"),
        (lambda lines: [lines[0].replace(" 1/", " 1/1"), *lines[1:]], "lines of the output"),
        (lambda lines: [*lines[:-1], lines[-1][:-4]], "was not sealed for this Job"),
    ],
)
def test_a_log_that_is_not_whole_is_refused(spoil, words):
    lines = list(sealed_lines(Collected({"outputs.json": b"y" * 20_000}), KEY, "job-1"))
    with pytest.raises(FrameError, match=words):
        opened("\n".join(spoil(lines)), KEY, "job-1")


def test_another_jobs_output_does_not_open():
    log = "\n".join(sealed_lines(Collected({}), KEY, "job-1"))
    for key, name in ((KEY, "job-2"), (bytes(32), "job-1")):
        with pytest.raises(FrameError, match="not sealed"):
            opened(log, key, name)


def test_the_collector_reads_plain_files_alone(tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    output = tmp_path / "output"
    output.mkdir()

    def run() -> Collected:
        collector.main("job-1", str(output), str(tmp_path / "key"))
        return opened(capsys.readouterr().out, KEY, "job-1")

    assert run() == Collected({})
    (output / "outputs.json").write_text("{}")
    (output / "error.json").write_text("{}")
    assert run() == Collected({"outputs.json": b"{}"})
    (output / "plan.json").symlink_to(tmp_path / "key")
    assert run().problem.startswith("plan.json is not a plain file")
    (output / "plan.json").unlink()
    (output / "plan.json").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    assert run().problem.endswith(f"it has {MAX_FILE_BYTES + 1} bytes")


def test_the_collector_needs_no_package_of_a_worker():
    loaded = set(sys.modules)
    assert collector.__name__ in loaded
    assert "kubernetes" not in Path(collector.__file__).read_text()


def test_a_job_starts_only_when_its_secret_is_there_and_once():
    job = ContainerJob(image=f"i@sha256:{DIGEST}", command=("--fast",), env={"A": "b"}, time_seconds=60)
    run = manifests.JobRun("bond-1", "p/shop/web/step", job, "apply", 600)
    made = manifests.job_manifest(run, settings(pull_secrets=("r",)), {"step.json": "step.json"})
    spec, pod = made["spec"], made["spec"]["template"]["spec"]
    assert (spec["suspend"], spec["backoffLimit"], spec["parallelism"]) == (True, 0, 1)
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (60, 600)
    assert pod["initContainers"][0]["args"] == ["--fast"]
    assert pod["imagePullSecrets"] == [{"name": "r"}]
    assert "hostPath" not in json.dumps(made)
    secret = manifests.secret_manifest("bond-1", "uid-1", {"a": b"b"})
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1", "it goes with its Job"


def test_texts_reach_the_image_as_they_are_and_a_small_step_is_a_pod_that_is_taken():
    told = {"A": "pa$$word $(BOND_ACTION) $", "B": "plain"}
    job = ContainerJob(image=f"i@sha256:{DIGEST}", command=("--to=$(A)",), env=told, cpus=0.01)
    made = manifests.job_manifest(manifests.JobRun("n", "o", job, "plan", 1), settings(), {})
    [step] = made["spec"]["template"]["spec"]["initContainers"]
    variables = {each["name"]: each["value"] for each in step["env"]}
    # a kubelet makes `$` of `$$`, and of every other `$` before a bracket a reference
    assert (variables["A"], variables["B"]) == ("pa$$$$word $$(BOND_ACTION) $$", "plain")
    assert step["args"] == ["--to=$$(A)"]
    assert (step["resources"]["limits"]["cpu"], step["resources"]["requests"]["cpu"]) == ("10m", "10m")


def test_pods_of_network_none_are_those_that_the_policy_selects():
    labels = manifests.policy_manifest()["spec"]["podSelector"]["matchLabels"]
    for network, is_selected in (("none", True), ("pool", False)):
        job = ContainerJob(image=f"i@sha256:{DIGEST}", network=network)
        made = manifests.job_manifest(manifests.JobRun("n", "o", job, "plan", 1), settings(), {})
        of_pod = made["spec"]["template"]["metadata"]["labels"]
        assert (labels.items() <= of_pod.items()) is is_selected


def step_status(**state: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "status": {"initContainerStatuses": [{"name": manifests.STEP, "state": state}]},
    }


def job_with(condition: str = "", reason: str = "") -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", "reason": reason}] if condition else []
    return {"spec": {"activeDeadlineSeconds": 60}, "status": {"conditions": conditions}}


def test_a_job_and_its_pod_say_how_a_run_has_ended():
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}
    ended = step_status(terminated={"exitCode": 3, "reason": "Error", "message": '{"message": "m"}', **times})
    state = job_state(job_with("Failed", "BackoffLimitExceeded"), ended)
    assert (state.status, state.code, state.ran_seconds) == ("exited", 3, 7.0)
    assert error_file(ended) == b'{"message": "m"}'
    assert job_state(job_with("Complete"), step_status(terminated={"exitCode": 0})).code == 0
    assert job_state(
        job_with("Failed"), step_status(terminated={"exitCode": 137, "reason": "OOMKilled"})
    ).out_of_memory
    late = job_state(job_with("Failed", "DeadlineExceeded"), None)
    assert (late.code, late.outlived(60)) == (KILLED, True)
    lost = job_state(job_with("Failed", "BackoffLimitExceeded"), None)
    assert (lost.is_over, lost.code, lost.outlived(60)) == (True, KILLED, False)


def test_a_job_that_is_not_over_says_what_keeps_it():
    assert not job_state({"spec": {"suspend": True}}, None).has_begun
    pulling = job_state(
        job_with(), step_status(waiting={"reason": "ImagePullBackOff", "message": "no such image"})
    )
    assert (pulling.is_over, pulling.note) == (False, "pod p, container step: ImagePullBackOff: no such image")
    assert job_state(job_with(), step_status(running={})).note == ""
    assert error_file(step_status(terminated={"exitCode": 1, "message": "the last lines of a log"})) is None


def test_settings_take_images_by_digest_alone():
    with pytest.raises(ValidationError):
        settings(collector="x/y:latest")
