"""A public class has a name of its own: a reader who meets it knows which one is meant."""

import ast
from pathlib import Path

import bondstone

ROOT = Path(bondstone.__file__).parents[1]
PRODUCT = ("bondstone", "activities", "workers", "workflows")
# A workflow class is named after its type, which histories keep.
KEPT = {"Campaign"}


def owners(sources: dict[str, str]) -> dict[str, list[str]]:
    """The modules that define each public class."""
    modules: dict[str, list[str]] = {}
    for file, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, []).append(file)
    return modules


def test_a_class_name_is_used_once():
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    twice = {name: files for name, files in owners(sources).items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in KEPT} == {}


def test_a_name_that_is_used_twice_is_noticed():
    assert owners({"a.py": "class Plan: ...", "b.py": "class Plan: ...\nclass _Own: ..."}) == {
        "Plan": ["a.py", "b.py"]
    }
