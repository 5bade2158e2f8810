"""`bond policy …` and `bond promise test`, driven as processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bondstone.base.settings import Settings
from bondstone.promises import CATALOGUE, ORGANISATION_POLICIES
from bondstone.store import Store

pytestmark = pytest.mark.integration

Bond = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bond(tmp_path: Path) -> Bond:
    """The command on a store of its own, and no platform beside it."""
    asyncio.run(Store.open(Settings(data=tmp_path / "data"), create_keys=True))
    environment = {**os.environ, "BOND_DATA": str(tmp_path / "data"), "BOND_AS": "ada"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bondstone.cli.app", *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_policies_are_published_listed_and_shown(bond: Bond) -> None:
    assert bond("policy", "list").returncode == 0
    assert bond("policy", "show").returncode == 3
    first = json.loads(bond("policy", "publish", str(ORGANISATION_POLICIES), "-o", "json").stdout)
    assert (first["version"], first["published"], first["published_by"]) == (1, True, "ada")
    again = json.loads(bond("policy", "publish", str(ORGANISATION_POLICIES), "-o", "json").stdout)
    assert again == {**first, "published": False}
    assert [row["version"] for row in json.loads(bond("policy", "list", "-o", "json").stdout)] == [1]
    assert "in force" in bond("policy", "list").stdout
    shown = json.loads(bond("policy", "show", "1", "-o", "json").stdout)
    assert {"rule": "labels.deny", "level": "deny", "file": "labels.rego"} in shown["rules"]
    assert bond("policy", "show", "--source", "labels.rego").stdout == (
        ORGANISATION_POLICIES / "labels.rego"
    ).read_text(encoding="utf-8")


def test_a_broken_policy_is_refused_in_words_with_its_place(bond: Bond, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.rego").write_text('package main\ndeny[msg] { msg := "x" }\n', encoding="utf-8")
    refused = bond("policy", "publish", "p")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error[POLICY_INVALID]")
    assert "a.rego:2:1" in refused.stderr
    assert "Traceback" not in refused.stderr
    error = json.loads(bond("policy", "publish", "p", "-o", "json").stderr)["error"]
    assert error["code"] == "POLICY_INVALID"


def test_a_promises_tests_are_run_and_the_report_is_json(bond: Bond) -> None:
    ran = bond("promise", "test", str(CATALOGUE / "static-site"), "--only", "cannot", "-o", "json")
    assert ran.returncode == 0
    report = json.loads(ran.stdout)
    assert (report["promise"], report["passed"], report["failed"]) == ("static-site", 1, 0)
    assert report["cases"][0]["file"] == "tests/site.yaml"


def test_the_organisations_policies_can_be_tried_on_a_promise(bond: Bond) -> None:
    ran = bond(
        "promise",
        "test",
        str(CATALOGUE / "queue"),
        "--only",
        "all defaults",
        "--policies",
        str(ORGANISATION_POLICIES),
    )
    assert ran.returncode == 1
    assert "needs the label `environment`" in ran.stdout
    assert "0 passed, 1 failed" in ran.stdout


def test_no_test_by_that_name_is_not_a_success(bond: Bond) -> None:
    assert bond("promise", "test", str(CATALOGUE / "queue"), "--only", "no such case").returncode == 3
