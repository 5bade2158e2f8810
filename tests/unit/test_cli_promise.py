"""`bond promise` as people and programs use it, on a store of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from promise_samples import EXECUTORS, edited, write_promise

from bondstone.base.settings import Settings
from bondstone.cli import app, context
from bondstone.store import Store


@pytest.fixture(autouse=True)
async def _own_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BOND_AS", "ada")
    monkeypatch.delenv("BOND_STORE", raising=False)
    monkeypatch.setattr(context, "options", context.GlobalOptions())
    monkeypatch.setattr("bondstone.executors.registry.load_executors", lambda: dict(EXECUTORS))
    await Store.open(Settings(data=tmp_path / "data"), create_keys=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_promise(tmp_path / "postgres")


class Bond:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = app.main(["promise", *arguments])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "-o", "json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def bond(capsys: pytest.CaptureFixture[str]) -> Bond:
    return Bond(capsys)


def test_publish_says_published_once_and_unchanged_again(bond: Bond, folder: Path) -> None:
    code, out, err = bond("publish", str(folder))
    assert code == 0, err
    assert out.startswith("published postgres@1.4.0 sha256:")
    _, again, _ = bond("publish", str(folder))
    assert again == out.replace("published", "unchanged")


def test_publish_refuses_other_content_under_the_same_version(bond: Bond, folder: Path) -> None:
    bond("publish", str(folder))
    (folder / "chart" / "Chart.yaml").write_text("other")
    code, out, err = bond("publish", str(folder))
    assert (code, out) == (4, "")
    assert err.startswith("error[REVISION_CONFLICT]: postgres@1.4.0 is published with other content")


def test_a_broken_promise_is_refused_with_every_place(bond: Bond, folder: Path) -> None:
    write_promise(folder, edited(("${inputs.size}", "${inputs.sizze}"), ("owner:", "onwer:")))
    code, out, err = bond("publish", str(folder))
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"error[PROMISE_INVALID]: {folder} is not valid: 2 problems",
        f"  - {folder}/promise.yaml:7:3: unknown key 'onwer' (did you mean 'owner'?)",
        f"  - {folder}/promise.yaml:32:20: there is no `inputs.sizze` (did you mean `inputs.size`?)",
    ]
    code, out, err = bond("validate", str(folder), "-o", "json")
    error = json.loads(err)["error"]
    assert (code, out, error["code"]) == (2, "", "PROMISE_INVALID")
    assert [(item["line"], item["column"]) for item in error["problems"]] == [(7, 3), (32, 20)]
    assert bond.json("list") == []


def test_validate_changes_nothing_and_gives_the_digest_that_publish_will(bond: Bond, folder: Path) -> None:
    result = bond.json("validate", str(folder))
    assert bond.json("list") == []
    assert bond.json("publish", str(folder)) == {
        "promise": "postgres",
        "version": "1.4.0",
        "digest": result["digest"],
        "published": True,
        "warnings": [],
    }


def test_warnings_go_to_standard_error_and_refuse_nothing(bond: Bond, folder: Path) -> None:
    write_promise(folder, edited(("  owner: data-platform\n", "")))
    code, out, err = bond("validate", str(folder))
    assert (code, out) == (0, "postgres@1.4.0 is valid\n")
    assert err == f"warning: {folder}/promise.yaml:3:1: metadata.owner does not say whom to ask\n"
    assert [item["line"] for item in bond.json("publish", str(folder))["warnings"]] == [3]


def test_list_shows_what_a_request_would_get(bond: Bond, folder: Path) -> None:
    for version in ("1.4.0", "1.5.0", "2.0.0-rc.1"):
        write_promise(folder, edited(("1.4.0", version)))
        bond("publish", str(folder))
    assert [item["version"] for item in bond.json("list")] == ["1.5.0"]
    bond("yank", "postgres@1.5.0", "--reason", "it opens the port to all")
    assert [(item["version"], item["status"]) for item in bond.json("list")] == [("1.4.0", "active")]
    assert [(item["version"], item["status"]) for item in bond.json("list", "--all")] == [
        ("2.0.0-rc.1", "active"),
        ("1.5.0", "yanked"),
        ("1.4.0", "active"),
    ]
    _, out, _ = bond("list")
    assert out.splitlines()[1].split() == [
        "postgres",
        "1.4.0",
        "active",
        "PostgreSQL",
        "database",
        "data-platform",
    ]


def test_show_tells_inputs_outputs_steps_and_versions(bond: Bond, folder: Path) -> None:
    bond("publish", str(folder))
    bond("deprecate", "postgres@1.4.0", "--reason", "use 1.5.0")
    result = bond.json("show", "postgres")
    assert (result["status"], result["reason"], result["published_by"]) == ("deprecated", "use 1.5.0", "ada")
    assert [(item["name"], item["required"], item["secret"], item["default"]) for item in result["inputs"]] == [
        ("size", False, False, "small"),
        ("region", False, False, "eu"),
        ("replicas", False, False, None),
        ("network", False, False, None),
        ("network.cidr", False, False, "10.0.0.0/16"),
        ("adminPassword", False, True, None),
    ]
    assert [item["id"] for item in result["steps"]] == ["database", "dashboard"]
    assert result["versions"] == [{"version": "1.4.0", "status": "deprecated"}]
    code, out, _ = bond("show", "postgres@1.4.0")
    assert code == 0
    assert "deprecated: use 1.5.0" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "mysql"), 3, "error[NOT_FOUND]: there is no promise 'mysql'"),
        (("show", "postgres@9.9.9"), 3, "error[NOT_FOUND]: postgres has no version 9.9.9"),
        (("show", "Postgres"), 2, "error[INVALID_INPUT]: 'Postgres' cannot name a promise"),
        (("yank", "postgres", "--reason", "x"), 2, "error[INVALID_INPUT]: say which version"),
        (("yank", "postgres@1.4.0", "--reason", " "), 2, "error[INVALID_INPUT]: a reason is needed"),
        (("yank", "postgres@1.4", "--reason", "x"), 2, "error[INVALID_INPUT]: '1.4' is not a version"),
        (("deprecate", "postgres@9.9.9", "--reason", "x"), 3, "error[NOT_FOUND]: postgres has no version 9.9.9"),
        (("validate", "nowhere"), 2, "error[PROMISE_INVALID]: nowhere is not valid: 1 problem"),
    ],
)
def test_mistakes_get_words_and_an_exit_code(
    bond: Bond, folder: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    bond("publish", str(folder))
    result, out, err = bond(*arguments)
    assert (result, out) == (code, "")
    assert err.startswith(says)
    assert "Traceback" not in err
