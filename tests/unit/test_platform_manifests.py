"""Manifests of schedules, freezes, policies and access: mistakes in their places, and the three-way comparison."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.base.errors import BondError, ManifestInvalid, NotFound, Problem, Refused
from bondstone.client.documents.campaign import FreezeDocument
from bondstone.client.manifests import platform_export
from bondstone.client.manifests.applying import apply
from bondstone.client.manifests.comparing import Comparison, PromiseComparison
from bondstone.client.manifests.entries import PromiseEntry
from bondstone.client.manifests.files import MAX_PIPED_BYTES, read_manifests
from bondstone.client.manifests.platform import (
    PlatformComparison,
    compare_freeze,
    grants_of,
    pruned,
    schedule_content,
)
from bondstone.client.manifests.three_way import MISSING, whole_differences
from bondstone.documents.yaml_places import MAX_BYTES
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.store.numbered import require_expected

NOW = datetime(2026, 11, 30, tzinfo=UTC)
STRATEGY = "operation: reconcile, select: {everything: true}, waves: [{name: all, rest: true}]"
SCHEDULE = """
apiVersion: bondstone.dev/v1
kind: Schedule
metadata: {name: drift, owner: platform, reason: look for drift}
spec:
  cron: "0 1  * * *"
  jitter: 5m
  strategy: {%s}
"""
FREEZE = """
apiVersion: bondstone.dev/v1
kind: Freeze
metadata: {name: year-end, reason: the books are closed, labels: {repo: platform}}
spec: {team: payments, exempt: [EMG], from: 2099-12-24T00:00:00Z, until: 2100-01-02T00:00:00+01:00}
"""
ACCESS = """
apiVersion: bondstone.dev/v1
kind: Access
spec:
  grants:
    - {roles: [admin], scope: everything, subjects: [{user: ada}, {group: platform}]}
    - {roles: [operator], scope: everything, subjects: [{group: platform}]}
"""


def problems(folder: Path, text: str) -> dict[int, str]:
    """Message by line."""
    (folder / "it.yaml").write_text(text)
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([folder / "it.yaml"], now=NOW)
    messages: dict[int, str] = {}
    for each in refused.value.problems:
        messages[each.line] = "; ".join(filter(None, (messages.get(each.line), each.message)))
    return messages


def test_a_kind_that_is_no_text_is_a_mistake_in_its_line(tmp_path: Path) -> None:
    assert list(problems(tmp_path, "apiVersion: bondstone.dev/v1\nkind: [Schedule]\n")) == [2]


@pytest.mark.parametrize("name", ['"a\\0b"', "."])
def test_a_strategy_file_that_is_no_file_is_a_mistake_in_its_line(tmp_path: Path, name: str) -> None:
    text = SCHEDULE.replace("strategy: {%s}", f"strategy_file: {name}")
    [(line, words)] = problems(tmp_path, text).items()
    assert (line, "cannot be read" in words) == (8, True)


POLICY_SET = "apiVersion: bondstone.dev/v1\nkind: PolicySet\nmetadata: {name: org}\nspec:\n  directory: %s\n"
REFERENCE = (
    "apiVersion: bondstone.dev/v1\nkind: PromiseReference\nmetadata: {name: db, version: 1.0.0}\n"
    "spec:\n  directory: %s\n"
)
BESIDE = SCHEDULE.replace("strategy: {%s}", "strategy_file: %s")


@pytest.mark.parametrize(("text", "line"), [(BESIDE, 8), (POLICY_SET, 5), (REFERENCE, 5)])
@pytest.mark.parametrize("name", ["../other", "/etc", "within/../../other", "link"])
def test_what_a_manifest_names_outside_of_the_applied_folder_is_refused(
    tmp_path: Path, text: str, line: int, name: str
) -> None:
    folder, other = tmp_path / "applied", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "promise.yaml").write_text("metadata: {name: db, version: 1.0.0}\n")
    (folder / "link").symlink_to(other)
    (folder / "all.yaml").write_text(text % name)
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([folder / "all.yaml"], now=NOW)
    [problem] = refused.value.problems
    assert problem.line == line
    assert problem.message == f"{name} leads out of {folder}, the folder that is applied"
    assert "-f" in problem.hint


def piped(text: bytes) -> list[Problem]:
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([Path("-")], now=NOW, standard_input=io.BytesIO(text))
    return list(refused.value.problems)


@pytest.mark.parametrize(("text", "line"), [(BESIDE, 8), (POLICY_SET, 5), (REFERENCE, 5)])
def test_what_standard_input_names_is_relative_to_nothing(
    text: str, line: int, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    [problem] = piped((text % "other").encode())
    assert (problem.file, problem.line) == ("standard input", line)
    assert problem.message == "other is relative to a file, and this came by standard input"


def test_standard_input_is_read_like_a_file_and_never_to_an_end_that_does_not_come() -> None:
    class Endless(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0, "a read without a bound"
            self.read_bytes += size
            return b"#" * size

    both = "\n---\n".join((SCHEDULE % STRATEGY, FREEZE)).encode()
    manifests = read_manifests([Path("-"), Path("-")], now=NOW, standard_input=io.BytesIO(both))
    assert (len(manifests.schedules), len(manifests.freezes)) == (1, 1)
    endless = Endless()
    with pytest.raises(ManifestInvalid, match="it is longer than 8 MiB"):
        read_manifests([Path("-")], now=NOW, standard_input=endless)
    assert endless.read_bytes == MAX_PIPED_BYTES + 1
    [problem] = piped(b"\nkind: Frieze\n")
    assert (problem.file, problem.line) == ("standard input", 2)
    for closed in (None, io.BytesIO()):
        if closed is not None:
            closed.close()
        with pytest.raises(ManifestInvalid, match="cannot be read: it is closed"):
            read_manifests([Path("-")], now=NOW, standard_input=closed)


def test_what_a_manifest_names_in_another_folder_of_what_is_applied_is_read(tmp_path: Path) -> None:
    for folder in ("schedules", "strategies"):
        (tmp_path / folder).mkdir()
    strategy = f"apiVersion: bondstone.dev/v1\nkind: Strategy\nmetadata: {{name: s}}\nspec: {{{STRATEGY}}}\n"
    (tmp_path / "strategies" / "how.yaml").write_text(strategy)
    (tmp_path / "schedules" / "drift.yaml").write_text(BESIDE % "../strategies/how.yaml")
    [entry] = read_manifests([tmp_path], now=NOW).schedules
    assert entry.strategy.metadata.name == "s"


def test_links_out_of_the_applied_folder_or_in_circles_are_mistakes(tmp_path: Path) -> None:
    folder, other = tmp_path / "applied", tmp_path / "other"
    (folder / "within").mkdir(parents=True)
    other.mkdir()
    (other / "freeze.yaml").write_text(FREEZE)
    (folder / "file.yaml").symlink_to(other / "freeze.yaml")
    (folder / "folder").symlink_to(other)
    (folder / "within" / "up").symlink_to(folder)
    (folder / "within" / "itself").symlink_to(folder / "within" / "itself")
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([folder], now=NOW)
    messages = {Path(each.file).name: each.message for each in refused.value.problems}
    assert set(messages) == {"file.yaml", "folder", "up", "itself"}
    assert messages["file.yaml"] == messages["folder"]
    assert "leads out of" in messages["folder"]
    for link in ("file.yaml", "folder", "within/up", "within/itself"):
        (folder / link).unlink()
    (folder / "year-end.yaml").write_text(FREEZE)
    (folder / "same.yaml").symlink_to("within/kept.yml")
    (folder / "within" / "kept.yml").write_text("# a comment\n")
    assert len(read_manifests([folder], now=NOW).freezes) == 1


def test_a_strategy_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.txt").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    text = SCHEDULE.replace("strategy: {%s}", "strategy_file: large.txt")
    assert "is larger than" in problems(tmp_path, text)[8]


@pytest.mark.parametrize("metadata", ["[a]", "a"])
def test_a_referenced_promise_without_metadata_is_a_mistake_of_the_reference(
    tmp_path: Path, metadata: str
) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "promise.yaml").write_text(f"kind: Promise\nmetadata: {metadata}\n")
    text = (
        "apiVersion: bondstone.dev/v1\nkind: PromiseReference\nmetadata: {name: db, version: 1.0.0}\n"
        "spec: {directory: db}\n"
    )
    assert list(problems(tmp_path, text)) == [3]


@pytest.mark.parametrize("time", ["20991224", '"20991224"', "2099", "1.5e9", "2099-12-24", "2099-12-24T00:00:00"])
def test_a_time_of_a_freeze_is_written_out_with_its_offset(tmp_path: Path, time: str) -> None:
    for field in ("from", "until"):
        text = re.sub(rf"{field}: [^,}}]+", f"{field}: {time}", FREEZE)
        assert list(problems(tmp_path, text)) == [5]


def test_the_same_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "it.yaml"
    file.write_text(FREEZE)
    assert len(read_manifests([file, tmp_path, tmp_path / "." / "it.yaml"], now=NOW).freezes) == 1


def test_every_kind_is_read_from_one_folder(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "labels.rego").write_text("package labels")
    policies = "apiVersion: bondstone.dev/v1\nkind: PolicySet\nmetadata: {name: org}\nspec: {directory: rules}\n"
    reference = "apiVersion: bondstone.dev/v1\nkind: PromiseReference\nmetadata: {name: db, version: 1.4.0}\n"
    (tmp_path / "all.yaml").write_text(
        "\n---\n".join([SCHEDULE % STRATEGY, FREEZE, ACCESS.strip(), policies, reference])
    )
    manifests = read_manifests([tmp_path], now=NOW)
    assert len(manifests) == 5
    assert manifests.policies[0].directory == tmp_path / "rules"
    content = schedule_content(manifests.schedules[0])
    assert (content["cron"], content["jitter_seconds"], content["catch_up_seconds"]) == ("0 1 * * *", 300, 3600)
    assert json.loads(manifests.schedules[0].data)["spec"]["operation"] == "reconcile"
    assert grants_of(manifests.access[0].manifest) == {
        "user ada everywhere": ["admin"],
        "group platform everywhere": ["admin", "operator"],
    }


def test_data_beside_policies_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "labels.rego").write_text("package labels")
    (tmp_path / "rules" / "limits.yaml").write_text("teams: [payments]\n")
    text = "apiVersion: bondstone.dev/v1\nkind: PolicySet\nmetadata: {name: org}\nspec: {directory: rules}\n"
    (tmp_path / "set.yaml").write_text(text)
    assert len(read_manifests([tmp_path], now=NOW)) == 1
    (tmp_path / "limits.yaml").write_text("teams: [payments]\n")
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([tmp_path], now=NOW)
    assert [each.file for each in refused.value.problems] == [str(tmp_path / "limits.yaml")]


def test_mistakes_of_an_inline_strategy_are_named_at_their_line(tmp_path: Path) -> None:
    text = SCHEDULE.replace("0 1  * * *", "0 25 * * *") % "operation: patch, waves: [{name: all, rest: true}]"
    messages = problems(tmp_path, text)
    assert "25" in messages[6]
    assert "promise" in messages[8]
    text = (
        SCHEDULE.replace("jitter", "jiter") % "operation: reconcile, waves: [{name: all, rest: true, soak: never}]"
    )
    messages = problems(tmp_path, text)
    assert messages[7] == "unknown key 'jiter'"
    assert "never" in messages[8], "the strategy's mistakes too"


def test_a_strategy_file_is_read_by_the_schedule_that_names_it_and_refused_alone(tmp_path: Path) -> None:
    strategy = f"apiVersion: bondstone.dev/v1\nkind: Strategy\nmetadata: {{name: s}}\nspec: {{{STRATEGY}}}\n"
    (tmp_path / "how.yaml").write_text(strategy)
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests([tmp_path], now=NOW)
    assert "no Schedule here names it" in refused.value.problems[0].message
    manifest = SCHEDULE.replace("strategy: {%s}", "strategy_file: how.yaml")
    (tmp_path / "drift.yaml").write_text(manifest)
    [entry] = read_manifests([tmp_path], now=NOW).schedules
    assert entry.strategy.metadata.name == "s"
    assert "either" in problems(tmp_path, manifest + "  strategy: {}\n")[5]


def test_two_of_what_there_is_one_of_are_refused(tmp_path: Path) -> None:
    messages = problems(tmp_path, f"{ACCESS}---{ACCESS}")
    assert list(messages.values()) == ["the access document is in two manifests"]
    messages = problems(tmp_path, FREEZE.replace("2100-01-02", "2099-12-01"))
    assert list(messages.values()) == ["the freeze would end before it begins"]


def test_what_a_whole_document_does_not_say_goes_away_and_counts_as_changed_elsewhere() -> None:
    base = {"cron": "a", "strategy": {"promise": "db", "select": {"where": "true"}}}
    live = {"cron": "b", "strategy": {"promise": "db", "select": {"where": "true", "max": 3}}}
    wanted = {"cron": "a", "strategy": {"promise": "db", "select": {"where": "false"}}}
    changes = {".".join(each.path): each for each in whole_differences(base=base, live=live, wanted=wanted)}
    assert {name: each.elsewhere for name, each in changes.items()} == {
        "cron": True,
        "strategy.select.where": False,
        "strategy.select.max": True,
    }
    assert changes["strategy.select.max"].wanted is MISSING
    assert whole_differences(base=None, live=wanted, wanted=wanted) == []


class _Freezes:
    def __init__(self, *freezes: FreezeDocument) -> None:
        self._freezes = {freeze.name: freeze for freeze in freezes}

    async def get(self, name: str) -> FreezeDocument:
        if name not in self._freezes:
            raise NotFound(name)
        return self._freezes[name]

    async def list(self) -> list[FreezeDocument]:
        return list(self._freezes.values())


def freeze(**fields: Any) -> FreezeDocument:
    known = {
        "name": "year-end", "team": "payments", "exempt": ("EMG",), "by": "ada", "reason": "the books are closed",
        "begins_at": datetime(2099, 12, 24, tzinfo=UTC), "ends_at": datetime(2100, 1, 1, 23, tzinfo=UTC),
    }  # fmt: skip
    return FreezeDocument(**known | fields)


KEPT = KeptPlatformManifest(
    name="year-end",
    labels={"repo": "platform"},
    content={
        "team": "payments", "exempt": ["EMG"], "reason": "the books are closed", "from": "2099-12-24T00:00:00Z",
        "until": "2100-01-01T23:00:00Z",
    },
)  # fmt: skip


async def compared(folder: Path, *freezes: FreezeDocument, overwrite: bool = False, text: str = FREEZE) -> Any:
    (folder / "freeze.yaml").write_text(text)
    [entry] = read_manifests([folder / "freeze.yaml"], now=NOW).freezes
    return await compare_freeze(SimpleNamespace(freezes=_Freezes(*freezes)), entry, overwrite=overwrite)


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"applied": KEPT}, "unchanged"),
        ({}, "record"),
        ({"applied": KEPT, "exempt": ()}, "conflict"),
        ({"exempt": ()}, "conflict"),
        ({"applied": KEPT.changed(content={**KEPT.content, "exempt": ["OLD"]}), "exempt": ("OLD",)}, "change"),
        ({"applied": KEPT, "team": "shop"}, "conflict"),
        ({"applied": KEPT, "begins_at": NOW - timedelta(days=9), "ends_at": NOW - timedelta(days=8)}, "conflict"),
    ],
)
async def test_a_freeze_beside_its_manifest(tmp_path: Path, fields: dict[str, Any], action: str) -> None:
    assert (await compared(tmp_path, freeze(**fields))).action == action


async def test_a_freeze_that_begins_when_it_is_applied_is_applied_once(tmp_path: Path) -> None:
    text = FREEZE.replace("from: 2099-12-24T00:00:00Z, ", "")
    kept = KEPT.changed(content={name: value for name, value in KEPT.content.items() if name != "from"})
    assert (await compared(tmp_path, text=text)).differences
    assert (await compared(tmp_path, freeze(applied=kept), text=text)).action == "unchanged"


async def test_a_freeze_that_a_person_ended_is_not_made_again_even_with_overwrite(tmp_path: Path) -> None:
    ended = freeze(applied=KEPT, begins_at=NOW - timedelta(days=9), ends_at=NOW - timedelta(days=8))
    row = await compared(tmp_path, ended, overwrite=True)
    assert (row.action, "never used twice" in row.note) == ("conflict", True)
    assert (await compared(tmp_path, freeze(exempt=()), overwrite=True)).action == "change"
    assert (await compared(tmp_path)).action == "create"


async def test_only_what_manifests_made_in_the_scope_is_pruned() -> None:
    freezes = _Freezes(
        freeze(applied=KEPT), freeze(name="by-hand"), freeze(name="other", applied=KEPT.changed(labels={}))
    )

    class Schedules:
        async def list(self) -> list[Any]:
            return [SimpleNamespace(name="nightly")]

        async def get(self, name: str, *, count: int) -> Any:
            return SimpleNamespace(applied=KEPT, name=name, count=count)

    bond: Any = SimpleNamespace(freezes=freezes, schedules=Schedules())
    rows = await pruned(
        bond, schedules=set(), freezes=set(), selects=lambda labels, _team: labels.get("repo") == "platform"
    )
    assert [(row.kind, row.name) for row in rows] == [("Schedule", "nightly"), ("Freeze", "year-end")]
    kept = await pruned(bond, schedules={"nightly"}, freezes={"year-end"}, selects=lambda _labels, _team: True)
    assert [row.name for row in kept] == ["other"]


def test_policies_are_in_a_folder_or_in_the_manifest_and_stay_in_their_place(tmp_path: Path) -> None:
    text = POLICY_SET.replace("directory: %s", "modules: {%s}")
    (tmp_path / "org.yaml").write_text(text % '"nested/a.rego": "package a"')
    [entry] = read_manifests([tmp_path / "org.yaml"], now=NOW).policies
    with entry.folder() as folder:
        assert (folder / "nested" / "a.rego").read_text() == "package a"
    assert not folder.exists()
    assert "either" in problems(tmp_path, text % "")[4]
    for name in ("../a.rego", "/a.rego", ".a.rego", "a/../../b.rego"):
        assert list(problems(tmp_path, text % f'"{name}": "package a"')) == [5]


async def test_nothing_is_applied_behind_access_policies_or_freezes_that_are_refused(tmp_path: Path) -> None:
    carried_out: list[str] = []

    def rule(kind: Any, name: str, problem: BondError | None = None) -> PlatformComparison:
        async def carry_out(_bond: Any, _reason: str) -> None:
            if problem is not None:
                raise problem
            carried_out.append(name)

        return PlatformComparison(kind, name, "create", carry_out=carry_out)

    rules = (rule("Access", "document"), rule("PolicySet", "org", Refused("no")), rule("Freeze", "year-end"))
    named: Any = SimpleNamespace(name="db", version="1.0.0")
    promise = PromiseComparison(PromiseEntry(tmp_path, "promise.yaml"), named, published=False)
    comparison = Comparison(
        (promise,), (), (), rules=rules, schedules=(rule("Schedule", "drift"),),
        pruned=("shop/a",), pruned_of_platform=(rule("Freeze", "old"),),
    )  # fmt: skip
    bond: Any = SimpleNamespace()
    document = await apply(bond, comparison)
    assert carried_out == ["document"]
    errors = {row.name: row.error.message if row.error else "" for row in document.manifests}
    words = "not applied, because the policy set org was refused"
    assert errors == {"document": "", "org": "no"} | dict.fromkeys(
        ("year-end", "db@1.0.0", "drift", "shop/a", "old"), words
    )


def test_a_number_that_is_not_in_force_any_more_is_refused() -> None:
    require_expected("policy set", 3, None)
    require_expected("policy set", 3, 3)
    with pytest.raises(Refused, match="policy set 3 is in force now"):
        require_expected("policy set", 3, 2)
    with pytest.raises(Refused, match="no policy set was"):
        require_expected("policy set", 3, 0)


async def test_an_export_of_everything_leaves_out_what_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services are listed first and read one by one: of thousands some end in between."""

    async def none(*_arguments: object) -> list[Any]:
        return []

    async def unpublished() -> None:
        raise NotFound("none was published")

    async def listed() -> list[Any]:
        return [SimpleNamespace(id=f"shop/{name}") for name in ("cart", "ended", "forgotten", "part")]

    async def get(name: str) -> Any:
        if name == "shop/forgotten":
            raise NotFound(f"there is no service {name}")
        return SimpleNamespace(id=name, owner="shop/cart" if name == "shop/part" else "", phase="ready")

    async def export(_bond: object, name: str) -> tuple[dict[str, Any], list[str]]:
        if name == "shop/ended":
            raise NotFound(f"{name} is decommissioned")
        return {"kind": "Service", "metadata": {"name": name}, "spec": {"promise": "db", "version": "1.0.0"}}, []

    monkeypatch.setattr(platform_export, "export", export)
    lists = dict.fromkeys(("freezes", "schedules"), SimpleNamespace(list=none))
    rules = dict.fromkeys(("access", "policies"), SimpleNamespace(get=unpublished))
    bond: Any = SimpleNamespace(**lists, **rules, services=SimpleNamespace(list=listed, get=get))
    exported = [each["metadata"]["name"] for each, _ in await platform_export.export_all(bond)]
    assert exported == ["db", "shop/cart"]
