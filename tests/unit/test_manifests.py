"""Manifests of services: every mistake with its place, and the three-way comparison."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.base.errors import ManifestInvalid
from bondstone.client.documents.apply import AppliedManifest
from bondstone.client.documents.promise import PromiseDocument
from bondstone.client.documents.service import MASK, AheadDocument, AppliedDocument, ServiceDocument
from bondstone.client.manifests import applying
from bondstone.client.manifests.entries import ServiceEntry
from bondstone.client.manifests.export import manifest_of
from bondstone.client.manifests.files import read_manifests
from bondstone.client.manifests.services import compare_service
from bondstone.client.manifests.three_way import MISSING, differences, same

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["owner", "password"],
    "properties": {
        "owner": {"type": "string"},
        "size": {"enum": ["small", "large"], "default": "small"},
        "net": {"type": "object", "properties": {"cidr": {"type": "string"}, "zones": {"type": "integer"}}},
        "password": {"type": "string", "writeOnly": True},
    },
}
PROMISE = PromiseDocument(promise="db", version="1.4.0", digest="", status="active", input_schema=SCHEMA)
SERVICE = """
apiVersion: bondstone.dev/v1
kind: Service
metadata: {team: shop, name: orders, labels: {tier: data}}
spec:
  promise: db
  inputs: %s
"""


def entry(
    folder: Path, inputs: str = "{owner: ada, password: {$env: DB_PASSWORD}}", extra: str = ""
) -> ServiceEntry:
    file = folder / "orders.yaml"
    file.write_text(SERVICE % inputs + extra)
    return read_manifests([file]).services[0]


def live(**fields) -> ServiceDocument:
    applied = AppliedDocument(
        inputs={"owner": "ada", "password": {"$env": "DB_PASSWORD"}}, labels={"tier": "data"}
    )
    known = {
        "id": "shop/orders", "team": "shop", "name": "orders", "promise": "db", "revision": "db@1.4.0",
        "phase": "ready", "health": "healthy", "labels": {"tier": "data"}, "operations": (), "links": {},
        "inputs": {"owner": "ada", "size": "small", "password": MASK}, "outputs": {}, "was_ready": True,
        "applied": applied,
    }  # fmt: skip
    return ServiceDocument(**known | fields)


def test_every_mistake_of_every_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVICE % "{}" + "---\n" + SERVICE.replace("team:", "taem:") % "{}")
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Deployment\n---\nkind: [\n---\n# nothing here\n")
    (tmp_path / "c.yml").write_text(SERVICE % "{}")
    (tmp_path / "README.md").write_text("no manifest")
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([tmp_path])
    places = {(Path(each.file).name, each.line): each.message for each in refused.value.problems}
    assert places[("a.yaml", 12)] == "unknown key 'taem'"
    assert places[("b.yaml", 2)] == "a Deployment is not applied from here"
    assert any(name == "b.yaml" and line >= 4 for name, line in places)
    assert places[("c.yml", 4)] == "service shop/orders is in two manifests"


def test_a_secret_that_standard_input_names_by_a_relative_path_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("correct horse")

    def mistakes(path: str) -> list[str]:
        text = SERVICE % f"{{owner: ada, password: {{$file: {path}}}}}"
        [piped] = read_manifests([Path("-")], standard_input=io.BytesIO(text.encode())).services
        _, problems = compare_service(piped, None, PROMISE)
        return [each.message for each in problems]

    assert mistakes("secret") == ["secret is relative to a file, and this came by standard input"]
    assert mistakes(str(tmp_path / "secret")) == []


def test_a_folder_with_a_promise_is_the_promise_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "db" / "tests").mkdir(parents=True)
    (tmp_path / "db" / "promise.yaml").write_text("kind: Promise")
    (tmp_path / "db" / "tests" / "case.yaml").write_text("- name: no manifest")
    (tmp_path / "orders.yaml").write_text(SERVICE % "{}")
    manifests = read_manifests([tmp_path])
    assert [each.directory for each in manifests.promises] == [tmp_path / "db"]
    assert len(manifests) == 2


def test_what_is_as_the_manifest_says_is_unchanged(tmp_path: Path) -> None:
    comparison, problems = compare_service(entry(tmp_path), live(), PROMISE)
    assert (comparison.action, problems) == ("unchanged", [])


def test_a_new_service_gets_its_secret_from_the_environment(tmp_path: Path, monkeypatch) -> None:
    manifest = entry(tmp_path)
    [problem] = compare_service(manifest, None, PROMISE)[1]
    assert problem.message == "the environment variable DB_PASSWORD is not set"
    assert problem.line == 7
    monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
    comparison, problems = compare_service(manifest, None, PROMISE)
    assert (comparison.action, problems) == ("create", [])
    assert comparison.inputs == {"owner": "ada", "password": "hunter2hunter2"}
    assert "hunter2" not in repr(comparison)
    assert "hunter2" not in comparison.applied.model_dump_json()


def test_a_secret_in_plain_is_refused_and_not_repeated(tmp_path: Path) -> None:
    [problem] = compare_service(entry(tmp_path, "{owner: ada, password: hunter2}"), None, PROMISE)[1]
    assert "is a secret" in problem.message
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("{owner: ada, size: huge, password: {$file: secret}}", "size:"),
        ("{owner: ada, sise: small, password: {$file: secret}}", "sise: there is no such input"),
        ("{password: {$file: secret}}", "owner is required"),
    ],
)
def test_inputs_that_do_not_fit_are_named_in_the_file(tmp_path: Path, inputs: str, words: str) -> None:
    (tmp_path / "secret").write_text("a-password\n")
    [problem] = compare_service(entry(tmp_path, inputs), None, PROMISE)[1]
    assert words in problem.message
    assert problem.file.endswith("orders.yaml")
    assert problem.line == 7


def test_what_somebody_changed_elsewhere_is_left_alone_unless_it_is_overwritten(tmp_path: Path) -> None:
    manifest = entry(tmp_path, "{owner: eve, password: {$env: DB_PASSWORD}}")
    elsewhere = live(inputs={"owner": "grace", "size": "small", "password": MASK})
    comparison, _ = compare_service(manifest, elsewhere, PROMISE)
    assert comparison.action == "conflict"
    [difference] = comparison.differences
    assert (difference.path, difference.live, difference.wanted) == (("inputs", "owner"), "grace", "eve")
    assert difference.elsewhere
    comparison, _ = compare_service(manifest, elsewhere, PROMISE, overwrite=True)
    assert (comparison.action, comparison.inputs) == ("change", {"owner": "eve"})


def test_a_service_that_no_manifest_made_is_not_taken_over_in_silence(tmp_path: Path) -> None:
    comparison, _ = compare_service(entry(tmp_path), live(applied=None), PROMISE)
    assert comparison.action == "record", "it is as the manifest says"
    comparison, _ = compare_service(entry(tmp_path, "{owner: eve}"), live(applied=None), PROMISE)
    assert (comparison.action, comparison.note) == ("conflict", "it was not made from a manifest")


def test_an_input_that_the_manifest_no_longer_names_goes_back_to_its_default(tmp_path: Path) -> None:
    base = AppliedDocument(inputs={"owner": "ada", "size": "large"}, labels={"tier": "data", "old": "yes"})
    standing = live(
        applied=base, inputs={"owner": "ada", "size": "large", "password": MASK},
        labels={"tier": "data", "old": "yes", "by-hand": "yes"},
    )  # fmt: skip
    comparison, _ = compare_service(entry(tmp_path, "{owner: ada}"), standing, PROMISE)
    assert (comparison.action, comparison.inputs, comparison.remove_labels) == ("change", {"size": None}, ("old",))


def test_what_has_been_accepted_and_not_yet_done_is_not_asked_for_again(tmp_path: Path) -> None:
    manifest = entry(tmp_path, "{owner: eve, password: {$env: DB_PASSWORD}}")
    coming = AppliedDocument(inputs={"owner": "eve", "password": {"$env": "DB_PASSWORD"}}, labels={"tier": "data"})
    ahead = AheadDocument(
        revision="db@1.4.0", inputs={"owner": "eve", "size": "small", "password": MASK}, applied=coming
    )
    comparison, _ = compare_service(manifest, live(phase="updating", ahead=ahead), PROMISE)
    assert (comparison.action, comparison.note) == ("unchanged", "it is updating")


@pytest.mark.parametrize(
    ("version", "move", "words"),
    [("1.4.1", "patch", ""), ("1.5.0", "upgrade", ""), ("1.3.9", "", "no manifest leads back to 1.3.9")],
)
def test_a_version_in_the_manifest_is_a_patch_or_an_upgrade(
    tmp_path: Path, version: str, move: str, words: str
) -> None:
    base = AppliedDocument(version="1.4.0", inputs={"owner": "ada"}, labels={"tier": "data"})
    manifest = entry(tmp_path, "{owner: ada}", f"  version: {version}\n")
    comparison, problems = compare_service(manifest, live(applied=base), PROMISE)
    assert comparison.move == move
    assert [words in each.message for each in problems] == ([True] if words else [])


def test_a_version_that_a_campaign_has_moved_on_is_a_conflict(tmp_path: Path) -> None:
    base = AppliedDocument(version="1.4.0", inputs={"owner": "ada"}, labels={"tier": "data"})
    manifest = entry(tmp_path, "{owner: ada}", "  version: 1.4.0\n")
    comparison, _ = compare_service(manifest, live(applied=base, revision="db@1.4.1"), PROMISE)
    assert comparison.action == "conflict"


def test_an_exported_manifest_is_taken_without_a_change(tmp_path: Path) -> None:
    import json  # noqa: PLC0415 - JSON is YAML

    standing = live(inputs={"owner": "ada", "size": "large", "net": {"cidr": "10.0.0.0/8"}, "password": MASK})
    manifest, hidden = manifest_of(standing, "db", "1.4.0", {"size": "small"})
    assert hidden == []
    assert manifest["spec"]["inputs"]["password"] == {"$env": "DB_PASSWORD"}
    file = tmp_path / "exported.yaml"
    file.write_text(json.dumps(manifest))
    comparison, problems = compare_service(read_manifests([file]).services[0], standing, PROMISE)
    assert (comparison.action, problems) == ("record", []), (
        "the exported version and inputs are the manifest's now"
    )
    _, hidden = manifest_of(live(applied=None), "db", "1.4.0", {})
    assert hidden == ["password"]


def test_true_is_not_one() -> None:
    assert not same(True, 1)
    assert same({"a": [1, {"b": 1.0}]}, {"a": [1, {"b": 1}]})


def test_a_map_is_compared_by_its_keys() -> None:
    changes = differences(
        base={"tags": {"a": "1", "b": "2"}},
        live={"tags": {"a": "1", "b": "2", "c": "3"}},
        wanted={"tags": {"a": "9"}},
        defaults={},
    )
    assert [(each.path, each.wanted, each.elsewhere) for each in changes] == [
        (("tags", "a"), "9", False),
        (("tags", "b"), MISSING, False),
    ]


async def test_services_without_parts_are_requested_before_those_that_may_share_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    async def changed(_bond: Any, service: Any, _reason: str, *, dry_run: bool) -> AppliedManifest:
        await asyncio.sleep(0 if service.has_parts else 0.01)
        order.append(service.id)
        return AppliedManifest(kind="Service", name=service.id, file="", action="change" if dry_run else "create")

    monkeypatch.setattr(applying, "_changed", changed)
    services = [SimpleNamespace(id=name, has_parts=name != "shop/shared") for name in ("shop/user", "shop/shared")]
    comparison: Any = SimpleNamespace(
        rules=(), promises=(), services=services, schedules=(), campaigns=(), pruned=(), pruned_of_platform=()
    )
    bond: Any = None
    document = await applying.apply(bond, comparison)
    assert order == ["shop/shared", "shop/user"]
    assert [row.name for row in document.manifests] == ["shop/user", "shop/shared"], (
        "as they stand in the manifests"
    )
