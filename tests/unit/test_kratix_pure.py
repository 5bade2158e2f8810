"""Kratix: the file contract of pipelines, and promises made from its promises."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bondstone.activities.kratix import contract
from bondstone.activities.kratix.engine import Mounts
from bondstone.activities.kratix.pipelines import run_pipelines
from bondstone.activities.kratix.scaffold import draft, needs_kratix, platform_draft
from bondstone.activities.kratix.section import Container, KratixSection
from bondstone.base.errors import InvalidInput, OperationFailed, ToolFailed, TryLater
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import write_promise
from bondstone.promise.load import load_promise
from bondstone.promise.request_kinds import request_kinds
from bondstone.promise.validation.before_publish import validate
from bondstone.temporal.failures import to_failure

PROMISE = """
apiVersion: platform.kratix.io/v1alpha1
kind: Promise
metadata: {name: cache}
spec:
  destinationSelectors: [{matchLabels: {environment: dev}}]
  api:
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: caches.example.org}
    spec:
      group: example.org
      names: {kind: Cache, plural: caches, singular: cache}
      scope: Namespaced
      versions:
        - name: v1
          served: true
          storage: true
          schema:
            openAPIV3Schema:
              type: object
              properties:
                spec:
                  type: object
                  required: [job-name]
                  properties: {size: {type: string, default: small}, job-name: {type: string}}
  workflows:
    resource:
      configure:
        - apiVersion: platform.kratix.io/v1alpha1
          kind: Pipeline
          metadata: {name: make}
          spec:
            rbac: {permissions: [{apiGroups: [""], resources: [secrets], verbs: [get]}]}
            containers:
              - {name: render, image: "example.org/render:v1", env: [{name: MODE, value: plain}]}
              - name: check
                image: "example.org/check@sha256:%s"
                command: [check]
                env: [{name: KEY, valueFrom: {secretKeyRef: {name: keys, key: one}}}]
    promise:
      configure:
        - metadata: {name: install}
          spec: {containers: [{name: operator, image: "example.org/operator:v1"}]}
""" % ("0" * 64)


def section(**changes: Any) -> KratixSection:
    api = {"group": "example.org", "version": "v1", "kind": "Cache", "plural": "caches"}
    written = {
        "apiVersion": "example.org/v1",
        "kind": "Cache",
        "metadata": {"name": "one", "namespace": "default"},
    }
    pipelines = [
        {"name": name, "containers": [{"name": name, "image": "example.org/it"}]} for name in ("first", "second")
    ]
    known = {
        "promise": "cache",
        "api": api,
        "object": {**written, "spec": {"size": "small"}},
        "configure": pipelines,
    }
    return KratixSection.model_validate(known | changes)


class Written:
    """An engine whose containers write what they are told to: the seam to podman."""

    def __init__(self, **files: dict[str, str]) -> None:
        self.files = files
        self.ran: list[dict[str, Any]] = []

    async def run(self, container: Container, variables, mounts: Mounts, *, name, network, seconds) -> str:  # noqa: ARG002 - the seam
        handed_over = yaml.safe_load((mounts.input / "object.yaml").read_text())
        self.ran.append({"name": name, "network": network, "variables": dict(variables), "object": handed_over})
        for path, text in self.files.get(container.name, {}).items():
            target = mounts.input.parent / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return "done\n"


async def rendered(engine: Written, folder: Path, **changes: Any):
    return await run_pipelines(
        engine, section(**changes), folder, action="configure", owner="shop/one/app", log=lambda _: None
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), ("0", 0), (".5m", 30), ("1us", 1e-6)],
)
def test_durations_are_those_of_go(text: str, seconds: float) -> None:
    assert contract.go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "5 m", "1d", "-5m", "25h", "h", "5m3", "1e3s"])
def test_what_is_no_duration_of_go_is_refused(text: str) -> None:
    with pytest.raises(ToolFailed):
        contract.go_duration(text)


def test_fields_that_a_request_leaves_out_are_not_in_the_object() -> None:
    section = KratixSection.model_validate(
        {
            "promise": "cache",
            "api": {"group": "example.org", "version": "v1", "kind": "Cache", "plural": "caches"},
            "object": {
                "kind": "Cache",
                "spec": {
                    "size": None,
                    "storage": {"class": None, "gib": 0},
                    "tags": [],
                    "users": [{"name": "ada", "quota": None}, [{"mail": None}]],
                },
            },
            "configure": [{"name": "make", "containers": [{"name": "render", "image": "render"}]}],
        }
    )
    spec = {"storage": {"gib": 0}, "tags": [], "users": [{"name": "ada"}, [{}]]}
    assert contract.object_document(section, {}) == {"kind": "Cache", "spec": spec}
    assert contract.object_document(section, {"a": 1}) == {"kind": "Cache", "spec": spec, "status": {"a": 1}}


def test_a_status_is_merged_shallowly_and_its_conditions_by_type() -> None:
    known = {"a": {"x": 1, "y": 2}, "kept": 1, "conditions": [{"type": "A", "status": "x"}, {"type": "B"}]}
    merged = contract.merge_status(
        known, {"a": {"x": 9}, "conditions": [{"type": "B", "status": "y"}, {"type": "C"}]}
    )
    assert merged == {
        "a": {"x": 9},
        "kept": 1,
        "conditions": [{"type": "A", "status": "x"}, {"type": "B", "status": "y"}, {"type": "C"}],
    }
    with pytest.raises(ToolFailed, match="kratix"):
        contract.merge_status({}, {"kratix": {}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {directory: a}", "no matchLabels"),
        ("- {directory: a/b, matchLabels: {x: y}}", "inside another"),
        ("- {matchLabels: {x: y}}\n- {directory: ./, matchLabels: {x: z}}", "two entries"),
        ("{directory: a}", "not a list"),
    ],
)
def test_selectors_are_refused_as_kratix_refuses_them(text: str, words: str) -> None:
    with pytest.raises(ToolFailed, match=words):
        contract.read_selectors(text)
    assert contract.read_selectors("- {directory: a/, matchLabels: {x: y}}")[0].directory == "a"


async def test_pipelines_run_in_order_each_with_the_status_before_it(tmp_path: Path) -> None:
    engine = Written(
        first={"output/one.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
               "metadata/status.yaml": "message: half\nurl: http://one\n"},
        second={"output/b/two.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n",
                "metadata/status.yaml": "message: done\n",
                "metadata/destination-selectors.yaml": "- {matchLabels: {zone: eu}}\n"},
    )  # fmt: skip
    outcome = await rendered(engine, tmp_path)
    assert [each["metadata"]["name"] for each in outcome.documents] == ["a", "b"]
    assert outcome.status == {"message": "done", "url": "http://one"}
    assert "zone=eu" in outcome.notes[0]
    assert "status" not in engine.ran[0]["object"]
    assert engine.ran[1]["object"]["status"] == {"message": "half", "url": "http://one"}
    assert engine.ran[0]["variables"] == {
        "KRATIX_WORKFLOW_ACTION": "configure", "KRATIX_WORKFLOW_TYPE": "resource", "KRATIX_PROMISE_NAME": "cache",
        "KRATIX_PIPELINE_NAME": "first", "KRATIX_OBJECT_KIND": "Cache", "KRATIX_OBJECT_GROUP": "example.org",
        "KRATIX_OBJECT_VERSION": "v1", "KRATIX_OBJECT_NAME": "one", "KRATIX_OBJECT_NAMESPACE": "default",
        "KRATIX_CRD_PLURAL": "caches", "KRATIX_CLUSTER_SCOPED": "false",
    }  # fmt: skip
    assert {each["network"] for each in engine.ran} == {"none"}
    names = {each["name"] for each in engine.ran}
    again = Written()
    await rendered(again, tmp_path / "again")
    assert {each["name"] for each in again.ran} == names, "the next attempt replaces what a killed one left"


async def test_the_first_pipeline_finds_the_status_that_the_object_has(tmp_path: Path) -> None:
    engine = Written(first={"metadata/status.yaml": "message: done\n"})
    shown = {**section().object, "status": {"message": "half", "url": "http://one"}}
    outcome = await rendered(engine, tmp_path, object=shown)
    assert engine.ran[0]["object"]["status"] == {"message": "half", "url": "http://one"}
    assert outcome.status == {"message": "done", "url": "http://one"}


async def test_retry_after_is_temporals_to_keep_and_nothing_runs_behind_it(tmp_path: Path) -> None:
    engine = Written(first={"metadata/workflow-control.yaml": "retryAfter: 1m30s\nmessage: no quota yet\n"})
    with pytest.raises(TryLater, match="runs again in 90 s: no quota yet") as later:
        await rendered(engine, tmp_path)
    assert len(engine.ran) == 1
    failure = to_failure(later.value)
    assert (failure.next_retry_delay, failure.non_retryable) == (timedelta(seconds=90), False)


async def test_a_suspended_workflow_fails_in_words_until_a_person_retries(tmp_path: Path) -> None:
    engine = Written(first={"metadata/workflow-control.yaml": "suspend: true\nmessage: ask the lead\n"})
    with pytest.raises(OperationFailed, match="suspended its workflow: ask the lead") as suspended:
        await rendered(engine, tmp_path)
    assert to_failure(suspended.value).non_retryable


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"output/x.yaml": "apiVersion: platform.kratix.io/v1alpha1\nkind: Work\nmetadata: {name: w}\n"},
            "Work/w",
        ),
        ({"output/x.txt": "just words: no object"}, "not an object of a cluster"),
        ({"output/x.yaml": "a: [\n"}, "not valid YAML"),
        ({"metadata/status.yaml": "- a list\n"}, "not a mapping"),
    ],
)
async def test_what_the_contract_does_not_know_is_refused(tmp_path: Path, files: dict, words: str) -> None:
    with pytest.raises(ToolFailed, match=words):
        await rendered(Written(first=files), tmp_path)


async def test_a_link_in_the_output_is_not_followed(tmp_path: Path) -> None:
    class Links(Written):
        async def run(self, container, variables, mounts, **options) -> str:  # noqa: ARG002 - the seam
            (mounts.output / "passwd.yaml").symlink_to("/etc/passwd")
            return ""

    with pytest.raises(ToolFailed, match="is a link"):
        await rendered(Links(), tmp_path)


def test_a_promise_of_kratix_becomes_one_that_validates(tmp_path: Path) -> None:
    file = tmp_path / "cache.yaml"
    file.write_text(PROMISE)
    made = draft(file)
    assert list(made.inputs["properties"]) == ["size", "jobName"]
    assert made.inputs["required"] == ["jobName"]
    assert made.section["object"]["spec"] == {"size": "${inputs.size}", "job-name": "${inputs.jobName}"}
    [pipeline] = made.section["configure"]
    assert pipeline["containers"][0] == {
        "name": "render",
        "image": "example.org/render:v1",
        "env": {"MODE": "plain"},
    }
    reasons = needs_kratix(made.untranslated)
    assert [reason.partition(": ")[2] for reason in reasons] == [
        "its containers ask the cluster for secrets (rbac), and here they reach none",
        "KEY comes from a secretKeyRef of Kratix's cluster",
    ]
    folder = tmp_path / "cache"
    write_promise(folder, "cache", made)
    assert validate(folder, load_executors()).problems == ()
    assert [step.executor for step in load_promise(folder).spec.steps] == ["kratix"]


def test_pipelines_of_a_promise_that_requests_others_are_steps_of_their_own(tmp_path: Path) -> None:
    document = yaml.safe_load(PROMISE)
    spec = document["spec"]
    spec["requiredPromises"] = [{"name": "database"}]
    [first] = spec["workflows"]["resource"]["configure"]
    spec["workflows"]["resource"]["configure"] = [
        {**first, "metadata": {"name": name}} for name in ("request", "wait", "use")
    ]
    file = tmp_path / "cache.yaml"
    file.write_text(yaml.safe_dump(document))
    made = draft(file)
    assert any("each pipeline is a step of its own" in line for line in made.untranslated)
    write_promise(tmp_path / "cache", "cache", made)
    assert validate(tmp_path / "cache", load_executors()).problems == ()
    steps = load_promise(tmp_path / "cache").spec.steps
    assert [(step.id, step.needs) for step in steps] == [
        ("pipeline1", ()), ("pipeline2", ("pipeline1",)), ("main", ("pipeline2",)),
    ]  # fmt: skip
    sections = [KratixSection.model_validate(step.section) for step in steps]
    assert [[each.name for each in section.configure] for section in sections] == [["request"], ["wait"], ["use"]]
    assert [section.object.get("status") for section in sections] == [
        None, "${steps.pipeline1.outputs.status}", "${steps.pipeline2.outputs.status}",
    ]  # fmt: skip
    assert [kind.kind for kind in request_kinds(steps)] == ["Cache"], "they are one promise"


def test_what_it_does_for_the_platform_is_a_promise_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "cache.yaml"
    file.write_text(PROMISE)
    made = platform_draft(file)
    assert made.section["workflow"] == "promise"
    assert made.section["object"]["kind"] == "Promise"
    assert needs_kratix(made.untranslated) == []
    write_promise(tmp_path / "cache-platform", "cache-platform", made)
    assert validate(tmp_path / "cache-platform", load_executors()).problems == ()


def test_a_release_is_no_promise(tmp_path: Path) -> None:
    file = tmp_path / "release.yaml"
    file.write_text("apiVersion: platform.kratix.io/v1alpha1\nkind: PromiseRelease\nmetadata: {name: x}\n")
    with pytest.raises(InvalidInput, match="0 promises of Kratix"):
        draft(file)
