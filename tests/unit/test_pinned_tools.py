"""Programs that tests need are found by version, else named with what brings them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import pinned
from harness.pinned import BENCHES, PEERS, TOOLS, ToolMissing, find
from tools import build

ALL = TOOLS | PEERS | BENCHES
VERSIONS = {name: tool.version for name, tool in ALL.items()}


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, and nothing built."""
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    for module in (pinned, build):
        monkeypatch.setattr(module, "BUILT", tmp_path / "built")
    return path


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ALL)
def test_every_version_is_in_its_go_mod_once(name: str) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9.]+-[0-9a-f]{12})?", VERSIONS[name])
    assert build._toolchain(ALL[name]).startswith("go1.")


def test_a_missing_program_is_named_with_its_version_and_what_brings_it() -> None:
    with pytest.raises(ToolMissing, match=rf"no etcd {VERSIONS['etcd']}: run `make tools` \(needs Go\)"):
        find("etcd")
    with pytest.raises(ToolMissing, match=rf"no crossplane {VERSIONS['crossplane']}: run `make peers`"):
        find("crossplane")
    with pytest.raises(ToolMissing, match=r"no terraform-provider-time [\d.]+: run `make bench-tools`"):
        find("terraform-provider-time")


def test_what_path_has_is_used_in_the_right_version_only(path: Path) -> None:
    installed = program(path / "etcd", f"etcd Version: {VERSIONS['etcd']}")
    assert find("etcd") == installed
    program(path / "etcd", f"etcd Version: 1{VERSIONS['etcd']}")
    with pytest.raises(ToolMissing):
        find("etcd")


def test_what_was_built_is_preferred(path: Path, tmp_path: Path) -> None:
    program(path / "etcd", VERSIONS["etcd"])
    built = program(tmp_path / "built" / "etcd", "")
    assert find("etcd") == built


def test_nothing_is_built_that_path_has(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed = program(path / "helm", f"v{VERSIONS['helm']}+g1234")
    assert build.main(["helm"]) == 0
    assert capsys.readouterr().out == f"helm {VERSIONS['helm']}: {installed}\n"


def test_without_go_it_is_said_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["helm"]) == 1
    assert "install Go" in capsys.readouterr().err


def test_a_program_is_built_once_for_its_pins(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go = path / "go"
    go.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho built > "$2"\n')
    go.chmod(0o755)
    assert build.main(["etcd"]) == 0
    assert (tmp_path / "built" / "etcd").read_text() == "built\n"
    go.unlink()
    assert build.main(["etcd"]) == 0, "nothing to do, so no Go is needed"
    monkeypatch.setattr(build, "LINK", "")
    assert build.main(["etcd"]) == 1, "it would now be built another way"
    assert "install Go" in capsys.readouterr().err
