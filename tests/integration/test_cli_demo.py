"""`bond demo`: the tour works on a fresh directory and once more, and what it says to try works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from platforms import LocalPlatform

from bondstone.base.platform_file import Platform
from bondstone.cli.demo.services import DECOMMISSIONED, DENIED, FLEET

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    """A platform after its first tour, and what the tour said."""
    local = LocalPlatform(tmp_path_factory.mktemp("demo") / "data")
    try:
        yield local, local.bond("demo", seconds=300)
    finally:
        result = Platform.read(local.data)
        if result is not None and result.alive:
            local.down()


def test_the_tour_provisions_refuses_and_decommissions(toured):
    local, first = toured
    assert f"{len(FLEET)} of {len(FLEET)} ready" in first.stdout
    assert "error[INPUTS_INVALID]" in first.stdout
    assert "error[POLICY_DENIED]" in first.stdout
    assert "nothing was made" in first.stdout
    assert "\x1b" not in first.stdout + first.stderr
    listed = local.bond("service", "list").stdout
    parts = {f"risk/fraud-{part}" for part in ("cases", "transactions", "model", "dashboard")}
    left = {wanted.service for wanted in FLEET} - {DECOMMISSIONED} | parts
    assert {line.split()[0] for line in listed.splitlines()[1:]} == left
    assert DENIED.service not in listed


def test_what_the_tour_points_to_is_there(toured):
    _, first = toured
    site = re.search(r"file://(\S+index\.html)", first.stdout)
    database = re.search(r"a database: +(\S+)", first.stdout)
    assert site
    assert database
    assert "<html" in Path(site.group(1)).read_text()
    assert Path(database.group(1)).read_bytes().startswith(b"SQLite format 3")


def test_the_commands_to_try_work_as_printed(toured):
    local, first = toured
    lines = [
        line.strip() for line in first.stdout.partition("\nTry")[2].splitlines() if line.startswith("  bond ")
    ]
    assert len(lines) >= 5
    for line in lines:
        assert local.bond(*shlex.split(line)[1:], seconds=60).stdout, line


def test_a_second_tour_keeps_what_is_there_and_stops_the_platform_if_asked(toured):
    local, _ = toured
    second = local.bond("demo", "--down", seconds=200)
    assert f"{len(FLEET) - 1} are ready from an earlier tour and are kept" in second.stdout
    assert "1 of 1 ready" in second.stdout
    result = Platform.read(local.data)
    assert result is not None
    assert not result.alive
