"""`pip install bondstone` alone is the client and the command; the weight of workers comes with extras."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import bondstone
from bondstone.base import extras
from bondstone.base.errors import ExtraMissing

PYPROJECT = tomllib.loads((Path(bondstone.__file__).parents[1] / "pyproject.toml").read_text())["project"]

WITHOUT_EXTRAS = f"""
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {{{", ".join(repr(p) for names in extras.EXTRAS.values() for p in names)}}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that has only what `pip install bondstone` brings."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code], capture_output=True, text=True, check=False, timeout=120
    )


def distributions(requirements: list[str]) -> set[str]:
    names = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {name[0].lower().replace("_", "-") for name in names if name}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_packages_of_an_extra_are_those_of_the_project_file(extra):
    origin = packages_distributions()
    packages = {origin[package][0].lower().replace("_", "-") for package in extras.EXTRAS[extra]}
    assert packages == distributions(PYPROJECT["optional-dependencies"][extra])


@pytest.mark.parametrize("package", ["bondstone.client", "bondstone.cli"])
def test_the_client_and_the_command_load_without_any_extra(package):
    ran = without_extras(
        f"import {package}\n"
        f"for module in pkgutil.walk_packages({package}.__path__, '{package}.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert ran.returncode == 0, ran.stderr


def test_a_missing_extra_is_said_with_what_to_install(tmp_path):
    (tmp_path / "promise.yaml").write_text(
        "apiVersion: bondstone.dev/v1\nkind: Promise\nmetadata: {name: a, version: 1.0.0}\n"
        "spec: {steps: [{id: main, terraform: {module: m}}]}\n"
    )
    (tmp_path / "m").mkdir()
    (tmp_path / "m/main.tf").touch()
    ran = without_extras(
        f"from bondstone.cli.app import main\nsys.exit(main(['promise', 'validate', {str(tmp_path)!r}]))"
    )
    assert ran.returncode == ExtraMissing.exit_code, ran.stderr
    assert "pip install 'bondstone[worker]'" in ran.stderr


def test_a_worker_does_not_start_without_its_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(ExtraMissing, match="extra 'worker'"):
        extras.require("worker")
