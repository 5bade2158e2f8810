"""Programs of the images that shipped promises name: run as they are, against stand-ins for what they speak to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bondstone.activities.container.contract import read_outputs, read_shown_plan
from bondstone.promises import CATALOGUE
from harness.servers import grafana as grafana_server
from harness.servers.grafana import TOKEN, Grafana

YQ = """#!{python}
import sys, yaml
value = yaml.safe_load(open(sys.argv[2]))
for key in sys.argv[1].split(".")[1:]:
    value = value[key]
print(value)
"""


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with grafana_server.running() as server:
        yield server


class Folder:
    """Runs the image's program with the files of the contract."""

    def __init__(self, grafana: Grafana, directory: Path) -> None:
        self.url = grafana.url
        self.directory = directory
        self.token = TOKEN

    def run(self, action: str, title: str = "Orders", **step: Any) -> int:
        for name in ("input/files", "output"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        inputs = {"grafana": self.url, "uid": "payments-orders", "title": title}
        document = {"action": action, "inputs": inputs, "destroy": False, **step}
        (self.directory / "input" / "step.json").write_text(json.dumps(document))
        (self.directory / "input" / "files" / "token").write_text(self.token)
        environment = {**os.environ, "BOND_ACTION": action, "BOND_DIRECTORY": str(self.directory)}
        program = CATALOGUE / "dashboards" / "image" / "folder.py"
        return subprocess.run([sys.executable, program], env=environment, check=False).returncode

    def plan(self, action: str = "plan", **step: Any) -> list[dict[str, Any]]:
        assert self.run(action, **step) == 0
        shown = read_shown_plan(self.directory / "output", "here")
        return [change.model_dump(mode="json") for change in shown.changes]


def test_a_folder_is_made_changed_checked_for_drift_and_removed(grafana: Grafana, tmp_path: Path):
    folder = Folder(grafana, tmp_path)
    planned = folder.plan()
    assert [(change["action"], change["after"]) for change in planned] == [("create", {"title": "Orders"})]
    assert folder.run("apply", plan={"changes": planned}) == 0
    assert read_outputs(tmp_path / "output", "here") == {"url": f"{folder.url}/dashboards/f/payments-orders"}
    assert folder.plan() == []
    assert folder.plan("drift") == []
    grafana.folders["payments-orders"]["title"] = "by hand"
    assert [change["after"] for change in folder.plan("drift")] == [{"title": "by hand"}]
    assert folder.run("apply", title="Orders again") == 0
    assert grafana.folders["payments-orders"]["title"] == "Orders again"
    assert [change["action"] for change in folder.plan(destroy=True)] == ["delete"]
    assert folder.run("destroy") == 0
    assert grafana.folders == {}


def test_what_moved_since_the_plan_is_stale_and_what_is_done_already_is_not(grafana: Grafana, tmp_path: Path):
    folder = Folder(grafana, tmp_path)
    planned = folder.plan()
    grafana.folders["payments-orders"] = {"title": "somebody else's", "version": 1}
    assert folder.run("apply", plan={"changes": planned}) == 3
    grafana.folders["payments-orders"]["title"] = "Orders"
    assert folder.run("apply", plan={"changes": planned}) == 0


def test_a_token_that_is_refused_is_said_and_a_server_that_is_away_is_tried_again(
    grafana: Grafana, tmp_path: Path
):
    folder = Folder(grafana, tmp_path)
    folder.token = "another token"
    assert folder.run("plan") == 1
    assert "check the token" in (tmp_path / "output" / "error.json").read_text()
    folder.url = "http://127.0.0.1:9"
    assert folder.run("plan") == 75


def test_the_pipeline_of_the_cache_writes_manifests_and_the_status(tmp_path: Path):
    for name in ("bin", "input", "output", "metadata"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "yq").write_text(YQ.format(python=sys.executable))
    (tmp_path / "bin" / "yq").chmod(0o755)
    request = {"metadata": {"name": "payments-sessions", "namespace": "default"}, "spec": {"memory": 256}}
    (tmp_path / "input" / "object.yaml").write_text(yaml.safe_dump(request))
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "KRATIX_DIRECTORY": str(tmp_path)}
    subprocess.run(["sh", CATALOGUE / "cache" / "image" / "render"], env=environment, check=True)
    deployment, service = yaml.safe_load_all((tmp_path / "output" / "cache.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "288Mi"}
    assert service["spec"]["selector"] == {"app": "payments-sessions"}
    status = yaml.safe_load((tmp_path / "metadata" / "status.yaml").read_text())
    assert status == {"address": "payments-sessions.default.svc:6379"}
