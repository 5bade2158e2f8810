"""A promise made from an existing module or chart: what was read of it, and the folder that is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bondstone.base.errors import AlreadyExists, InvalidInput
from bondstone.executors.editor_schemas import FOLDER, as_text, editor_schema, modeline
from bondstone.promise.schema import validator

Bump = Literal["major", "minor", "patch"]


NOT_COPIED: Final = (".terraform", "*.tfstate*", ".git", ".github", "examples", "test", "tests")
"""Names of files and folders of a module that no promise has."""

_VARIABLES: Final = {"ansible": "vars", "helm": "values"}
"""Where a step's section has what it passes on, where that is not `variables`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an existing module, chart or kind says of itself, in the terms of a promise."""

    kind: str
    """The executor of the step."""
    source: str
    """Where it was read from, for the README."""
    section: Mapping[str, Any]
    """The step's section."""
    inputs: Mapping[str, Any]
    """JSON Schema of the inputs."""
    before: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Id and section of steps of the same kind that come before it, one after the other."""
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Outputs of the promise by name, as in `spec.outputs`."""
    folder: tuple[Path, str] | None = None
    """What is copied into the promise, and where to."""
    without: frozenset[str] = frozenset()
    """What of it is not copied: paths in it."""
    owns_folder: bool = True
    """Whether people put nothing of their own there: an update then removes what the newer one does not have."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files of the promise: their text by path."""
    untranslated: Sequence[str] = ()
    """What could not be said in a promise, each with its reason; never dropped in silence."""
    plannable: bool = False
    """Whether a plan needs no credentials and no download, so that a generated case may make one."""


@dataclass(frozen=True, slots=True)
class InputDifference:
    """How one input of a newer module differs, and which version bump that needs."""

    path: str
    what: str
    bump: Bump


def write_promise(directory: Path, name: str, draft: Draft, *, version: str = "0.1.0") -> list[Path]:
    """Write a promise that validates.

    Args:
        directory: The folder to make; it must be empty or new.
        name: Name of the promise.
        draft: What was read.
        version: Its first version.

    Returns:
        The files written, relative to the directory; the copied module is one entry.

    Raises:
        AlreadyExists: when the folder already holds files.
        InvalidInput: when the module contains the folder that is to be written.
    """
    if directory.exists() and any(directory.iterdir()):
        raise AlreadyExists(
            f"{directory} is not empty",
            hint="name a new folder, or `--update` to take over a newer version of the module",
        )
    if draft.folder and directory.resolve().is_relative_to(draft.folder[0].resolve()):
        raise InvalidInput("the promise would be inside the module it copies", hint="name a folder elsewhere")
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "promise.yaml": modeline("promise") + _yaml(manifest(name, draft, version=version)),
        "tests/generated.yaml": modeline("promise-tests", folder=f"../{FOLDER}") + _yaml(cases(draft)),
        "README.md": readme(name, draft),
        **{f"{FOLDER}/{kind}.json": as_text(editor_schema(kind)) for kind in ("promise", "promise-tests")},
        **draft.files,
    }
    for file, text in files.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    written = [Path(file) for file in files]
    if draft.folder:
        source, target = draft.folder
        copy_folder(source, directory / target, draft.without)
        written.append(Path(target))
    return written


def update_promise(directory: Path, draft: Draft) -> tuple[str, str, list[InputDifference]]:
    """Take a newer module into a promise that was made from an older one.

    Steps, outputs that people wrote, policies and tests stay. Inputs, their variables and the copied folder
    become the newer module's; in a folder where people write files of their own, those stay (`kept`). The version
    is raised as the differences require.

    Args:
        directory: The promise.
        draft: The newer module.

    Returns:
        The version before, the version now, and how the inputs differ.

    Raises:
        InvalidInput: when the promise has no step of the draft's kind.
    """
    file = directory / "promise.yaml"
    editor = YAML()
    editor.preserve_quotes = True
    try:
        document = editor.load(file.read_text("utf-8"))
        spec = document["spec"]
        step = next(step for step in spec["steps"] if draft.kind in step)
    except (OSError, YAMLError, KeyError, TypeError, StopIteration) as error:
        raise InvalidInput(
            f"{file} holds no promise with a {draft.kind} step",
            where=str(file),
            hint="without --update, `bond promise init` makes a new one",
        ) from error
    changes = list(differences(spec.get("inputs") or {}, draft.inputs))
    before = str(document["metadata"]["version"])
    after = bumped(before, changes)
    document["metadata"]["version"] = after
    spec["inputs"] = _plain(draft.inputs)
    key = _VARIABLES.get(draft.kind, "variables")
    for name in [change.path for change in changes if change.what == "is gone"]:
        step[draft.kind].get(key, {}).pop(name, None)
    for name, value in draft.section.get(key, {}).items():
        step[draft.kind].setdefault(key, {}).setdefault(name, value)
    for name, output in draft.outputs.items():
        spec.setdefault("outputs", {}).setdefault(name, _plain(output))
    stream = StringIO()
    editor.dump(document, stream)
    if draft.folder:
        source, target = draft.folder
        if draft.owns_folder:
            shutil.rmtree(directory / target, ignore_errors=True)
        copy_folder(source, directory / target, draft.without)
    file.write_text(stream.getvalue(), encoding="utf-8")
    about = replace(draft, untranslated=[*draft.untranslated, *kept(directory, draft)])
    (directory / "README.md").write_text(readme(str(document["metadata"]["name"]), about), encoding="utf-8")
    return before, after, changes


def kept(directory: Path, draft: Draft) -> list[str]:
    """What an update leaves where it is, because people may have written it: one line each.

    Args:
        directory: The promise.
        draft: The newer module.
    """
    if draft.folder is None or draft.owns_folder:
        return []
    source, target = draft.folder
    files = [path for path in sorted((directory / target).rglob("*")) if path.is_file()]
    return [
        f"{path.relative_to(directory)}: not of the newer version, so it stays; remove it if it is of an older one"
        for path in files
        if not (source / (inner := path.relative_to(directory / target))).is_file()
        or not draft.without.isdisjoint(map(Path.as_posix, (inner, *inner.parents)))
    ]


def copy_folder(source: Path, target: Path, without: Collection[str] = ()) -> None:
    """Copy a module or a chart without what its own runs and its version control left there.

    Args:
        source: The folder.
        target: Its copy.
        without: What else is left out: paths relative to the folder.
    """
    never = shutil.ignore_patterns(*NOT_COPIED)

    def ignored(folder: str, names: list[str]) -> set[str]:
        place = Path(folder).relative_to(source)
        return {*never(folder, names), *(name for name in names if (place / name).as_posix() in without)}

    shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)


def manifest(name: str, draft: Draft, *, version: str) -> dict[str, Any]:
    """The content of `promise.yaml`."""
    spec: dict[str, Any] = {
        "description": f"Made from {draft.source}.",
        "inputs": draft.inputs,
        "outputs": dict(draft.outputs),
        "steps": _steps(draft),
    }
    return {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Promise",
        "metadata": {"name": name, "version": version, "title": name.replace("-", " ").capitalize()},
        "spec": {key: value for key, value in spec.items() if value},
    }


def _steps(draft: Draft) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for name, section in (*draft.before, ("main", draft.section)):
        needs = {"needs": [steps[-1]["id"]]} if steps else {}
        steps.append({"id": name, **needs, draft.kind: dict(section)})
    return steps


def cases(draft: Draft) -> list[dict[str, Any]]:
    """Cases that pass as generated: refusals, and a plan where one needs neither credentials nor downloads."""
    required = sorted(draft.inputs.get("required", ()))
    made: list[dict[str, Any]] = []
    if required:
        refused = {"code": "INPUTS_INVALID", "fields": required}
        made.append(
            {"name": "required inputs are required", "given": {"inputs": {}}, "expect": {"refused": refused}}
        )
    unknown = {"code": "INPUTS_INVALID", "fields": ["notAnInput"]}
    example = {name: sample(draft.inputs["properties"][name]) for name in required}
    made.append(
        {
            "name": "unknown inputs are refused",
            "given": {"inputs": {**example, "notAnInput": 1}},
            "expect": {"refused": unknown},
        }
    )
    if draft.plannable and all(_is_certain(draft.inputs["properties"][name]) for name in required):
        made.append(
            {
                "name": "a service with its defaults",
                "given": {"inputs": example},
                "expect": {"decision": {"outcome": "allow"}},
            }
        )
    return made


def sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits a schema, as far as its type, enum and bounds say."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    members = [sample(member) for member in schema.get("prefixItems", ())]
    plain: dict[str, Any] = {
        "number": schema.get("minimum", 1),
        "integer": schema.get("minimum", 1),
        "boolean": False,
        "array": members or [sample(_inner(schema))] * int(schema.get("minItems", 0)) if kind == "array" else [],
        "object": {name: sample(schema["properties"][name]) for name in schema.get("required", ())},
    }
    return plain.get(str(kind), "x" * max(1, int(schema.get("minLength", 1))))


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value fits a schema, defaults of members filled in or not."""
    return not any(True for _ in validator(schema).iter_errors(value))


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[InputDifference]:
    """How the inputs of two versions differ, and the bump that each difference needs.

    Args:
        before: JSON Schema of the older inputs.
        after: JSON Schema of the newer ones.
        path: Where both stand, dotted.
    """
    old, new = before.get("properties", {}), after.get("properties", {})
    for name in sorted(old.keys() - new.keys()):
        yield InputDifference(f"{path}{name}", "is gone", "major")
    needed_before, needed = set(before.get("required", ())), set(after.get("required", ()))
    for name in sorted(new.keys() - old.keys()):
        bump: Bump = "major" if name in needed else "minor"
        yield InputDifference(f"{path}{name}", "is new and required" if name in needed else "is new", bump)
    for name in sorted(old.keys() & new.keys()):
        where = f"{path}{name}"
        if name in needed and name not in needed_before:
            yield InputDifference(where, "is required now", "major")
        elif name in needed_before and name not in needed:
            yield InputDifference(where, "is optional now", "minor")
        if old[name].get("type") != new[name].get("type"):
            yield InputDifference(
                where, f"was {old[name].get('type', 'any')} and is {new[name].get('type', 'any')}", "major"
            )
        elif isinstance(old[name].get("properties"), dict):
            yield from differences(old[name], new[name], f"{where}.")
        else:
            yield from _detail(where, old[name], new[name])


def bumped(version: str, changes: Sequence[InputDifference]) -> str:
    """The version that the differences ask for: at least a patch, since the module itself changed."""
    major, minor, patch = (
        int(part) for part in version.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split(".")
    )
    bumps = {change.bump for change in changes}
    if "major" in bumps:
        return f"{major + 1}.0.0" if major else f"0.{minor + 1}.0"
    return f"{major}.{minor + 1}.0" if "minor" in bumps else f"{major}.{minor}.{patch + 1}"


def readme(name: str, draft: Draft) -> str:
    """What was made of what, what was not translated, and what to look at before it is published."""
    properties = draft.inputs.get("properties", {})
    lines = [
        f"# {name}",
        "",
        f"Made by `bond promise init` from {draft.source}.",
        f"It has {len(properties)} inputs and {len(draft.outputs)} outputs.",
        "",
        "Before you publish it: remove the inputs that developers should not decide, give the others titles and",
        "bounds, and write cases in `tests/` for what must not happen.",
        "",
        "## Not translated",
        "",
        *([f"- {line}" for line in draft.untranslated] or ["Everything was translated."]),
        "",
    ]
    return "\n".join(lines)


def _detail(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[InputDifference]:
    for key in sorted({*old, *new} - {"description", "title", "type", "properties"}):
        if old.get(key) != new.get(key):
            narrower = key not in old and key != "default"
            shown = json.dumps(new.get(key), ensure_ascii=False)[:60]
            yield InputDifference(where, f"{key} is {shown}", "major" if narrower else "minor")


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    items = schema.get("items")
    return items if isinstance(items, Mapping) else {}


def _is_certain(schema: Mapping[str, Any]) -> bool:
    """Whether `sample` surely fits: a pattern or a format cannot be guessed."""
    return not any(key in schema for key in ("pattern", "format", "contains"))


def _yaml(value: Any) -> str:
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 115
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    writer.dump(_plain(value), stream)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """A value without aliases: YAML would write an object that stands twice as an anchor."""
    return json.loads(json.dumps(value))
