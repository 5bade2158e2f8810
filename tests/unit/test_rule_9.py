"""Rule 9: fail in words. What goes wrong at the command says what, where and what to do next, and has a code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bondstone.base.errors import BY_CODE
from bondstone.cli.app import main

MISTAKES = [
    (["promise", "validate", "nowhere"], "PROMISE_INVALID"),
    (["promise", "publish", "empty"], "PROMISE_INVALID"),
    (["service", "show", "payments/orders"], "UNREACHABLE"),
    (["service", "request", "postgres", "payments/orders", "--set", "size"], "INVALID_INPUT"),
    (["state", "push", "payments/orders", "nowhere.tfstate"], "INVALID_INPUT"),
    (["status"], None),
    (["service", "nonsense"], "INVALID_INPUT"),
]


@pytest.mark.parametrize(("arguments", "code"), MISTAKES)
def test_rule_9_a_mistake_is_answered_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments, code
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOND_TEMPORAL_ADDRESS", "127.0.0.1:9")  # the discard port: nobody listens
    (tmp_path / "data").mkdir()
    status = main(["--data", str(tmp_path / "data"), *arguments, "-o", "json"])
    captured = capsys.readouterr()
    assert status != 0
    assert "Traceback" not in captured.err + captured.out
    if code is None:
        return
    error = json.loads(captured.err.strip().splitlines()[-1])["error"]
    assert error["code"] == code
    assert BY_CODE[code].exit_code == status
    assert len(error["message"]) > 10
    assert error["where"] or error["hint"] or error["problems"], "where, or what next"


@pytest.mark.parametrize(
    "arguments",
    [
        ["promise", "publish", "{promises}/queue"],
        ["policy", "publish", "{promises}/_organisation"],
        ["promise", "list"],
    ],
)
def test_rule_9_nothing_is_published_where_no_platform_is(tmp_path, capsys, monkeypatch, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    promises = Path(__file__).parents[2] / "promises"
    written = [argument.format(promises=promises) for argument in arguments]
    assert main(["--data", str(tmp_path / "data"), *written]) == BY_CODE["UNREACHABLE"].exit_code
    captured = capsys.readouterr()
    assert "there is no platform" in captured.err
    assert "bond up" in captured.err
    assert "published" not in captured.out
    assert list(tmp_path.iterdir()) == []


def test_rule_9_a_setting_that_is_wrong_is_named(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("BOND_DRAIN_SECONDS", "soon")
    assert main(["--data", str(tmp_path), "service", "list"]) == 2
    err = capsys.readouterr().err
    assert "error[SETTINGS_INVALID]" in err
    assert "drain_seconds" in err
    assert "BOND_*" in err
