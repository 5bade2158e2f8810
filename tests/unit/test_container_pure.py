"""The container executor without an engine: what an image may say, and what is made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bondstone.activities.container.contract import (
    changes_of,
    failure,
    read_json,
    read_outputs,
    read_shown_plan,
)
from bondstone.activities.container.documents import (
    ContainerJob,
    ContainerPlan,
    ContainerRecord,
    ContainerRun,
    held,
    read_plan,
    read_record,
)
from bondstone.activities.container.engine import ContainerState, _between
from bondstone.activities.container.plain_files import MAX_FILE_BYTES
from bondstone.activities.container.section import ContainerSection
from bondstone.base.errors import ObjectCorrupt, PlanStale, ToolFailed, ToolUnavailable
from bondstone.base.redact import Redactor

DIGEST = "sha256:" + "0" * 64


def test_a_plan_of_an_image_becomes_a_change_set_with_secrets_masked(tmp_path: Path):
    change = {
        "address": "dns/www",
        "action": "update",
        "type": "record",
        "before": {"a": 1},
        "after": {"a": "topsecret"},
    }
    (tmp_path / "plan.json").write_text(json.dumps({"changes": [change], "new in some later version": 1}))
    [shown] = changes_of(read_shown_plan(tmp_path, "here"), Redactor(["topsecret"]))
    assert (shown.address, shown.action, shown.before, shown.after) == (
        "dns/www",
        "update",
        {"a": 1},
        {"a": "(secret)"},
    )
    assert list(shown.fingerprints) == ["after"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "the image wrote no /bond/output/plan.json"),
        ("no json", "plan.json is not JSON"),
        ('{"changes": [{"address": "a", "action": "explode"}]}', r"plan.json: changes.0.action"),
        ('{"changes": [{"action": "create"}]}', r"plan.json: changes.0.address"),
        ("[" * 100_000, "plan.json is not JSON"),
        (" " * (MAX_FILE_BYTES + 1), "not a plain file of at most 1024 KiB"),
    ],
)
def test_a_plan_that_breaks_the_contract_is_refused_in_words(tmp_path: Path, text, words):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ToolFailed, match=words):
        read_shown_plan(tmp_path, "here")


def test_no_file_of_the_worker_is_read_by_way_of_the_output(tmp_path: Path):
    (tmp_path / "secret").write_text('{"key": "of the worker"}')
    (tmp_path / "outputs.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ToolFailed, match="not a plain file"):
        read_outputs(tmp_path, "here")
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(ToolFailed, match="not a plain file"):
        read_json(tmp_path, "plan.json", "here")
    assert read_outputs(tmp_path / "secret-not", "here") == {}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (3, PlanStale, "stale: no disk"),
        (75, ToolUnavailable, "for the moment: no disk"),
        (137, ToolFailed, "was killed during apply"),
        (1, ToolFailed, r"failed to apply \(exit code 1\): no disk"),
    ],
)
def test_exit_codes_mean_what_the_contract_says(tmp_path: Path, code, kind, words):
    (tmp_path / "error.json").write_text('{"message": "no disk", "hint": "buy one"}')
    with pytest.raises(kind, match=words):
        raise failure(code, "apply", tmp_path, "here", complaint="", out_of_memory=False)
    (tmp_path / "error.json").write_text("not json")
    error = failure(1, "apply", tmp_path, "here", complaint="the last line", out_of_memory=False)
    assert "the last line" in str(error)
    assert "memory" in str(failure(137, "apply", tmp_path, "here", complaint="", out_of_memory=True))


def test_only_digests_are_images_and_names_of_files_lead_nowhere():
    good = {"image": f"registry.example:5000/tools/dns@{DIGEST}", "files": {"token": "x"}}
    assert ContainerSection.model_validate(good).files == {"token": "x"}
    for bad in (
        {"image": "tools/dns:1.0"},
        {"image": "${inputs.image}"},
        {"files": {"../x": ""}},
        {"env": {"A=B": ""}},
    ):
        with pytest.raises(ValueError, match="pattern"):
            ContainerSection.model_validate({**good, **bad})


def test_records_and_plans_of_others_are_refused():
    record = ContainerRecord(stands=True, run=ContainerRun(plan="p", base=1))
    assert read_record(record.pack()) == record
    assert (held(record.pack()), held(ContainerRecord().pack()), held(b"{}")) == (("container",), (), None)
    plan = ContainerPlan(action="apply", job=ContainerJob(image=f"x@{DIGEST}"))
    assert read_plan(plan.pack()) == plan
    for data in (b"", b"{}", b'{"format": "bondstone-ansible 1"}'):
        with pytest.raises(ObjectCorrupt):
            read_plan(data)
        with pytest.raises(ObjectCorrupt):
            read_record(data)


def test_a_run_has_one_name_however_many_attempts_and_what_it_is_told_has_no_limits_in_it():
    assert (
        ContainerRun(plan="p", base=1).key
        == ContainerRun(plan="p", base=1, done=True).key
        != ContainerRun(plan="p", base=2).key
    )
    assert (
        ContainerJob(cpus=1).told
        == ContainerJob(cpus=2, time_seconds=1).told
        != ContainerJob(files={"a": "b"}).told
    )


def test_what_an_engine_says_of_a_container_is_understood():
    assert _between("2026-11-29T18:38:29.427421455Z", "2026-11-29T18:38:31.427421455Z") == 2
    assert _between("0001-01-01T00:00:00Z", "never") == 0
    assert ContainerState("exited", 0, out_of_memory=False).is_over
    assert not ContainerState("created", 0, out_of_memory=False).has_begun
    assert ContainerState("running", 0, out_of_memory=False, pid=2**22 + 1).is_lost
    assert not ContainerState("running", 0, out_of_memory=False, pid=os.getpid()).is_lost


@pytest.mark.parametrize(
    ("code", "out_of_memory", "ran_seconds", "too_late"),
    [
        (137, False, 2, True),
        (137, False, 1.3, True),
        (137, False, 0.9, False),
        (-1, False, 1.9, True),
        (137, True, 1.9, False),
        (1, False, 1.9, False),
    ],
)
def test_a_container_that_its_engine_killed_a_moment_early_had_its_time(
    code, out_of_memory, ran_seconds, too_late
):
    state = ContainerState("exited", code, out_of_memory=out_of_memory, ran_seconds=ran_seconds)
    assert state.outlived(2) is too_late
