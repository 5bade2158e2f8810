"""import-linter holds the floors for imports (`make check`). Here: what it does not see, and that it sees."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import bondstone
from bondstone.base.names import EXECUTORS_GROUP

ROOT = Path(bondstone.__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
FLOORS = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
FLOOR_OF = {
    name.strip(" ()"): number for number, floor in enumerate(FLOORS) for name in floor.replace(":", "|").split("|")
}


QUOTED = r"""["']bondstone\b"""
"""What a string begins with that names a module; the rest may be a string beside it."""


def named_modules(source: str) -> Iterator[str]:
    """The modules that a source names in strings, to start or import them."""
    if not re.search(QUOTED, source):  # most modules, which are not parsed for nothing
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("bondstone."):
            name = node.value.partition(":")[0]
            path = ROOT / name.replace(".", "/")
            if name != EXECUTORS_GROUP and (path.is_dir() or path.with_suffix(".py").is_file()):
                yield name


def sources() -> Iterator[tuple[str, str]]:
    """Every module of the package: its name, its text."""
    for folder in sorted(FLOOR_OF):
        for path in (ROOT / "bondstone" / folder).resolve().rglob("*.py"):
            inner = path.relative_to((ROOT / "bondstone" / folder).resolve()).with_suffix("")
            yield f"bondstone.{folder}.{'.'.join(inner.parts)}", path.read_text(encoding="utf-8")


def test_nothing_starts_by_name_what_it_may_not_import():
    upward = {
        (module, name)
        for module, text in sources()
        for name in named_modules(text)
        if FLOOR_OF[name.split(".")[1]] < FLOOR_OF[module.split(".")[1]]
    }
    assert upward == set()


def test_a_module_that_is_named_is_noticed():
    assert list(named_modules('run("-m", "bondstone.workers.control", "bondstone.no.such")')) == [
        "bondstone.workers.control"
    ]


def test_every_package_has_a_floor():
    packages = {path.name for path in (ROOT / "bondstone").iterdir() if (path / "__init__.py").is_file()}
    assert packages <= set(FLOOR_OF)


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A package with two floors, and import-linter's settings for them."""
    for name in ("low", "high"):
        (tmp_path / "house" / name).mkdir(parents=True)
        (tmp_path / "house" / name / "__init__.py").touch()
    (tmp_path / "house" / "__init__.py").touch()
    (tmp_path / "house" / "high" / "user.py").write_text("import house.low\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "__init__.py").touch()
    (tmp_path / "house" / "linked").symlink_to("../outside")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["house"]\n'
        '[[tool.importlinter.contracts]]\nname = "floors"\ntype = "layers"\n'
        'containers = ["house"]\nlayers = ["high", "linked", "low"]\nexhaustive = true\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("module", "code", "kept"),
    [
        ("high/more.py", "import house.linked", True),
        ("low/more.py", "import house.high", False),
        ("linked/more.py", "from house.high import user", False),
        ("low/more.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.high", False),
        ("low/more.py", "def later():\n    import house.linked", False),
    ],
)
def test_an_import_upwards_is_found_also_for_types_late_and_in_linked_folders(small_house, module, code, kept):
    (small_house / "house" / module).write_text(code + "\n")
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=small_house, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode == 0) is kept, done.stdout
