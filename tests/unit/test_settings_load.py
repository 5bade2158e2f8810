"""Settings that cannot be read are refused in words."""

from __future__ import annotations

import os

import pytest

from bondstone.base.errors import SettingsInvalid
from bondstone.base.settings import Settings


@pytest.mark.parametrize("value", ["edge", '{"default": {"token": hunter2}}'])
@pytest.mark.parametrize("variable", ["BOND_POOLS", "BOND_CLUSTERS"])
def test_a_variable_that_is_to_be_json_is_named_without_its_value(monkeypatch, tmp_path, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid) as refusal:
        Settings.load(data=tmp_path)
    [problem] = refusal.value.problems
    assert problem.message.startswith(f"{variable} is not JSON: Expecting value at column ")
    assert "hunter2" not in str(refusal.value) + problem.message
    assert refusal.value.__cause__ is None


def test_a_file_of_settings_that_is_not_toml_is_named_with_the_line(monkeypatch, tmp_path):
    file = tmp_path / "bond.toml"
    file.write_text("terraform_slots = 4\npools = [default\n")
    monkeypatch.setenv("BOND_CONFIG", str(file))
    with pytest.raises(SettingsInvalid, match=r"not TOML: .*line 2") as refusal:
        Settings.load(data=tmp_path)
    assert refusal.value.where == str(file)


def test_a_file_of_settings_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("BOND_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsInvalid, match="no file of settings") as refusal:
        Settings.load()
    assert refusal.value.where == str(tmp_path / "none.toml")
    assert "BOND_CONFIG" in refusal.value.hint


def test_the_null_device_means_no_file_of_settings(monkeypatch, tmp_path):
    (tmp_path / "bond.toml").write_text("terraform_slots = 7\n")
    monkeypatch.chdir(tmp_path)
    assert Settings.load().terraform_slots == 7
    monkeypatch.setenv("BOND_CONFIG", os.devnull)
    assert Settings.load().terraform_slots != 7
