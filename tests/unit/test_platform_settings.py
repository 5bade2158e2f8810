"""`platform.json` in a directory that was copied, moved or restored: it never leads back to the original."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bondstone.base.errors import PlatformBusy
from bondstone.base.platform_file import Platform, Process
from bondstone.base.platform_settings import localized
from bondstone.base.processes import birth
from bondstone.base.settings import PLATFORM_FILE, Settings
from bondstone.workers import preflight


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("BOND_", "TEMPORAL_")):
            monkeypatch.delenv(name)


def running_platform(data: Path, **settings: str) -> Platform:
    """A platform of this very process, written into its directory."""
    data.mkdir()
    me = {"pid": os.getpid(), "born": birth(os.getpid())}
    places = {"store": (data / "objects").as_uri(), "keys": str(data / "keys.json")}
    platform = Platform(
        status="running",
        started_at=datetime.now(UTC),
        processes=(Process(name="temporal", started_at=datetime.now(UTC), **me),),
        settings={"temporal_address": "127.0.0.1:7233", **places, **settings},
        **me,
    )
    platform.write(data)
    return platform


def test_a_copy_has_its_own_store_and_keys_and_no_address_of_the_original(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    running_platform(original, payload_keys=str(original / "payload-keys.json"))
    shutil.copytree(original, copy)
    settings = Settings.load(data=copy)
    assert settings.store_url == (copy / "objects").as_uri()
    assert settings.key_file == copy / "keys.json"
    assert settings.payload_keys == copy / "payload-keys.json"
    assert settings.temporal_address == ""


def test_the_original_keeps_all_of_its_settings(tmp_path):
    running_platform(tmp_path / "original")
    settings = Settings.load(data=tmp_path / "original")
    assert settings.store_url == (tmp_path / "original" / "objects").as_uri()
    assert settings.temporal_address == "127.0.0.1:7233"


def test_a_copy_of_a_running_platform_is_stopped_and_holds_no_processes_to_end(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    running_platform(original)
    shutil.copytree(original, copy)
    assert Platform.read(original).alive
    platform = Platform.read(copy)
    assert (platform.status, platform.alive, platform.processes) == ("stopped", False, ())
    assert platform.lives_elsewhere(copy)


def test_a_moved_directory_is_read_where_it_is_now(tmp_path):
    running_platform(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert Settings.load(data=tmp_path / "after").store_url == (tmp_path / "after" / "objects").as_uri()


def test_a_directory_behind_a_link_is_the_same_directory(tmp_path):
    running_platform(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Settings.load(data=tmp_path / "link").temporal_address == "127.0.0.1:7233"
    assert Platform.read(tmp_path / "link").alive


def test_places_outside_the_directory_stay_where_they_are(tmp_path):
    running_platform(tmp_path / "data", store="s3://bucket/prefix", keys="/etc/bond/keys.json")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for data in (tmp_path / "data", tmp_path / "copy"):
        settings = Settings.load(data=data)
        assert settings.store_url == "s3://bucket/prefix"
        assert settings.key_file == Path("/etc/bond/keys.json")


def test_a_name_with_blanks_and_percent_signs_survives(tmp_path):
    data = tmp_path / "my data 100%"
    running_platform(data)
    data.rename(tmp_path / "käse %20")
    assert Settings.load(data=tmp_path / "käse %20").store_url == (tmp_path / "käse %20" / "objects").as_uri()


def test_a_file_of_an_older_version_tells_its_directory_by_the_default_places(tmp_path):
    data, copy = tmp_path / "old", tmp_path / "copy"
    running_platform(data)
    places = {"store": (data / "objects").as_uri(), "keys": str(data / "keys.json")}
    written = json.loads((data / PLATFORM_FILE).read_text())
    del written["data"]
    written["settings"] = {"temporal_address": "127.0.0.1:7233", **places}
    copy.mkdir()
    assert localized(written, copy) == {"store": (copy / "objects").as_uri(), "keys": str(copy / "keys.json")}
    assert localized(written, data) == written["settings"]


def test_a_copy_that_would_share_a_store_outside_with_its_original_is_refused(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    shared = (tmp_path / "elsewhere").as_uri()
    running_platform(original, store=shared)
    shutil.copytree(original, copy)
    previous = Platform.read(copy)
    with pytest.raises(PlatformBusy, match="is a copy") as refused:
        preflight.take_over_copy(copy, previous, shared)
    assert "BOND_STORE" in refused.value.hint
    assert preflight.take_over_copy(copy, previous, "s3://another/one") == str(original)
    shutil.rmtree(original)  # it was moved, then
    assert preflight.take_over_copy(copy, previous, shared) == str(original)


def test_a_copy_prepares_modules_again_because_they_link_to_the_originals_providers(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    running_platform(original)
    (original / "work" / "modules" / "one").mkdir(parents=True)
    (original / "work" / "orphans").mkdir()
    shutil.copytree(original, copy)
    assert preflight.take_over_copy(original, Platform.read(original), (original / "objects").as_uri()) == ""
    assert (original / "work" / "modules" / "one").is_dir()
    preflight.take_over_copy(copy, Platform.read(copy), (copy / "objects").as_uri())
    assert not (copy / "work" / "modules").exists()
    assert (copy / "work" / "orphans").is_dir()
