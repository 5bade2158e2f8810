"""A platform's data directory copied, moved and restored: each runs by itself, with its own store."""

from __future__ import annotations

import json
import shutil

import pytest
from platforms import PROMISES, LocalPlatform, running

pytestmark = pytest.mark.integration


def services(platform: LocalPlatform) -> list[str]:
    rows = json.loads(platform.bond("service", "list", "-o", "json").stdout)
    return sorted(row["id"] for row in rows)


def objects(platform: LocalPlatform) -> set[str]:
    return {str(path.relative_to(platform.data)) for path in (platform.data / "objects").rglob("*")}


def request(platform: LocalPlatform, name: str) -> None:
    platform.bond("service", "request", "patient", f"copies/{name}", "--wait")


def test_a_copy_runs_beside_its_original_and_a_moved_directory_goes_on(tmp_path):
    with running(tmp_path / "original") as original:
        original.bond("promise", "publish", str(PROMISES / "patient"))
        request(original, "both")
        # A copy of a living platform: of its database too, as a snapshot of a disk would make it.
        shutil.copytree(original.data, tmp_path / "copy", ignore=shutil.ignore_patterns("log"))
        before = objects(original)
        stopped = json.loads(LocalPlatform(tmp_path / "copy").bond("status", "-o", "json", status=6).stdout)
        assert stopped["status"] == "stopped"
        assert stopped["store"] == (tmp_path / "copy" / "objects").as_uri()

        with running(tmp_path / "copy") as copy:
            assert original.state().alive, "starting a copy ends nothing of the original"
            assert copy.settings.temporal_address != original.settings.temporal_address
            request(copy, "of-the-copy")
            assert services(copy) == ["copies/both", "copies/of-the-copy"]
            assert services(original) == ["copies/both"]
            assert objects(original) == before, "the copy wrote into the original's store"
        assert original.state().alive

    (tmp_path / "copy").rename(tmp_path / "moved")
    with running(tmp_path / "moved") as moved:
        shutil.rmtree(tmp_path / "original")
        assert services(moved) == ["copies/both", "copies/of-the-copy"]
        moved.bond("service", "decommission", "copies/both", "--yes", "--wait")
        assert moved.settings.store_url == (tmp_path / "moved" / "objects").as_uri()
