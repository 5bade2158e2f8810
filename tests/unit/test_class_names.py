"""A public class has a name of its own, and a workflow or an activity inherits over two files at most."""

import ast
from pathlib import Path

import bondstone

ROOT = Path(bondstone.__file__).parents[1]
PRODUCT = ("bondstone", "activities", "workers", "workflows")
# A workflow class is named after its type, which histories keep.
KEPT = {"Campaign"}
MOST_FILES = 2


def owners(sources: dict[str, str]) -> dict[str, list[str]]:
    """The modules that define each public class."""
    modules: dict[str, list[str]] = {}
    for file, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, []).append(file)
    return modules


def test_a_class_name_is_used_once():
    twice = {name: files for name, files in owners(sources_in(*PRODUCT)).items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in KEPT} == {}


def test_a_name_that_is_used_twice_is_noticed():
    assert owners({"a.py": "class Plan: ...", "b.py": "class Plan: ...\nclass _Own: ..."}) == {
        "Plan": ["a.py", "b.py"]
    }


def sources_in(*folders: str) -> dict[str, str]:
    """The text of every module of some folders, by its path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def lineages(sources: dict[str, str]) -> dict[str, set[str]]:
    """The modules that each class and what it inherits from are written in."""
    bases: dict[str, tuple[str, list[str]]] = {}
    for file, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                names = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]
                bases[f"{file}:{node.name}"] = (file, names)
    by_name = {key.rpartition(":")[2]: key for key in bases}

    def files_of(key: str) -> set[str]:
        file, names = bases[key]
        above = [by_name[name] for name in names if name in by_name and by_name[name] != key]
        return {file}.union(*(files_of(each) for each in above))

    return {key: files_of(key) for key in bases}


def test_no_workflow_and_no_activity_inherits_over_three_files():
    """What both stand on from below, the models and the seam to tools, is one class each, and is not counted."""
    assert [
        name for name, files in lineages(sources_in("activities", "workflows")).items() if len(files) > MOST_FILES
    ] == []


def test_a_class_whose_bases_are_in_three_files_is_noticed():
    sources = {
        "workflows/a.py": "class Low: ...",
        "workflows/b.py": "class Middle(Low): ...",
        "workflows/c.py": "class High(b.Middle): ...",
    }
    assert len(lineages(sources)["workflows/c.py:High"]) > MOST_FILES
