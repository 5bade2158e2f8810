"""Several platforms, each by a name: which one a command asks."""

import json

import pytest

from bondstone.base.contexts import Contexts, read_contexts, write_contexts
from bondstone.cli import context
from bondstone.cli.app import main


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "config" / "contexts.json"
    monkeypatch.setenv("BOND_CONTEXTS", str(path))
    for name in ("BOND_DATA", "BOND_CONTEXT", "BOND_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    yield path
    context.options.data, context.options.context, context.options.values = None, "", {}


def shown(capsys, *arguments: str) -> object:
    assert main([*arguments, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_first_context_is_in_use_and_another_can_be(capsys, file, tmp_path):
    shown(capsys, "context", "add", "here", "--data", str(tmp_path / "here"))
    shown(capsys, "context", "add", "prod", "--temporal", "temporal:7233", "--namespace", "bond")
    assert [row["name"] for row in shown(capsys, "context", "list") if row["current"]] == ["here"]
    shown(capsys, "context", "use", "prod")
    assert shown(capsys, "context", "show")["settings"] == {
        "temporal_address": "temporal:7233", "temporal_namespace": "bond"
    }  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "environment", "address"),
    [
        ([], {}, "here:1"),
        (["--context", "prod"], {}, "prod:2"),
        ([], {"BOND_CONTEXT": "prod"}, "prod:2"),
        ([], {"BOND_TEMPORAL_ADDRESS": "env:3"}, "env:3"),
        (["--context", "prod"], {"BOND_TEMPORAL_ADDRESS": "env:3"}, "prod:2"),
        (["--data", "/nowhere"], {}, None),
    ],
)
def test_which_platform_is_asked(capsys, monkeypatch, arguments, environment, address):
    known = {"here": {"temporal_address": "here:1"}, "prod": {"temporal_address": "prod:2"}}
    write_contexts(Contexts(current="here", known=known))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = shown(capsys, *arguments, "config", "show")
    assert settings["temporal_address"]["value"] == (address or "")


def test_a_variable_that_wins_over_the_context_in_use_is_named(capsys, monkeypatch, tmp_path):
    shown(capsys, "context", "add", "here", "--data", str(tmp_path / "here"))
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "other"))
    assert main(["context", "use", "here"]) == 0
    assert "BOND_DATA is set, and wins" in capsys.readouterr().err
    assert main(["context", "show"]) == 3
    assert "BOND_DATA names the platform, so the context here is not in use" in capsys.readouterr().err


def test_a_directory_of_a_context_is_the_data_directory(capsys, tmp_path):
    write_contexts(Contexts(current="here", known={"here": {"data": str(tmp_path / "x")}}))
    assert shown(capsys, "config", "show")["data"]["value"] == str(tmp_path / "x")


def test_an_unknown_context_is_refused_and_those_there_are_named(capsys):
    write_contexts(Contexts(known={"here": {"data": "/x"}}))
    assert main(["--context", "nope", "whoami"]) == 3
    assert "here" in capsys.readouterr().err
    assert main(["context", "use", "nope"]) == 3


def test_a_context_in_use_that_is_gone_or_a_broken_file_is_no_context(capsys, file):
    write_contexts(Contexts(current="gone", known={}))
    assert shown(capsys, "whoami")["context"] is None
    file.write_text("{")
    assert read_contexts() == Contexts()


def test_a_context_that_is_removed_is_in_use_no_more(capsys):
    shown(capsys, "context", "add", "here", "--data", "/x")
    shown(capsys, "context", "remove", "here")
    assert read_contexts() == Contexts()


def test_the_console_of_a_platform_elsewhere_is_opened_and_nothing_is_made_here(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BOND_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("BOND_API", "https://bond.example.com/")
    url = shown(capsys, "open", "payments/orders", "--print")["url"]
    assert url == "https://bond.example.com/services/payments/orders"
    assert not (tmp_path / "none").exists()
