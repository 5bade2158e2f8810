"""Crossplane itself on a control plane of its own, once for the run; skipped by name where it is not built."""

from __future__ import annotations

import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.pinned import ROOT, ToolMissing
from harness.servers import crossplane_core, kubernetes
from harness.servers.crossplane_core import CrossplaneCore
from harness.waiting import wait_until

sys.path.append(str(ROOT / "tests" / "integration"))

APIS = "/apis/apiextensions.crossplane.io"


@pytest.fixture(scope="session")
def crossplane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossplaneCore]:
    folder = tmp_path_factory.mktemp("crossplane")
    (folder / "plane").mkdir()
    try:
        with (
            kubernetes.running(folder / "plane") as plane,
            crossplane_core.running(plane, folder) as running,
        ):
            define(running)
            yield running
    except ToolMissing as error:
        pytest.skip(str(error))


def define(crossplane: CrossplaneCore) -> None:
    """Create what `definitions.yaml` defines, and wait until all of it is served."""
    text = (Path(__file__).parent / "definitions.yaml").read_text(encoding="utf-8")
    for item in yaml.safe_load_all(text):
        version, plural = item["apiVersion"].rpartition("/")[2], f"{item['kind'].lower()}s"
        crossplane.plane.call("POST", f"{APIS}/{version}/{plural}", item)
    for plural in ("stores", "regions", "xdatabases", "databases", "things"):
        wait_until(lambda plural=plural: is_served(crossplane, plural), f"the kind {plural}")


def is_served(crossplane: CrossplaneCore, plural: str) -> bool:
    """Whether a kind of the definitions is there already."""
    try:
        crossplane.plane.call("GET", f"/apis/shop.example.org/v1/{plural}")
    except urllib.error.HTTPError:
        return False
    return True
