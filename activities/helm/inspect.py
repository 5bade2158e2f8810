"""What can be said of a section and its chart without running anything, when a promise is published."""

from __future__ import annotations

import difflib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.manifests import ManifestLoader
from bondstone.activities.clusters.outputs import named_parts
from bondstone.activities.helm.chart import MAX_CHART_BYTES, MAX_CHART_FILES, chart_path
from bondstone.activities.helm.section import HelmSection
from bondstone.base.errors import InvalidInput, Problem
from bondstone.executors.protocol import SectionReport

_EXPRESSION: Final = "${"
_SHOWN: Final = 8
_OPEN: Final = ("patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if")
_Key = tuple[tuple[str | int, ...], Problem]


def report(section: HelmSection, promise: Path) -> SectionReport:
    """Check a section against the chart it names."""
    keys = [*_section_problems(section, promise), *_output_problems(section)]
    problems: list[Problem] = []
    if not section.is_remote and not any(key[:1] == ("chart",) for key, _ in keys):
        files, problems = _read(section.chart, promise / chart_path(section.chart))
        keys += _value_problems(section, files)
    return SectionReport(
        problems=problems,
        outputs=dict.fromkeys(section.outputs, "dyn"),
        sensitive=frozenset(name for name, output in section.outputs.items() if output.sensitive),
        keys=keys,
    )


def _section_problems(section: HelmSection, promise: Path) -> Iterator[_Key]:
    for key in ("chart", "repository", "version", "digest"):
        if _EXPRESSION in getattr(section, key):
            yield (
                (key,),
                Problem(
                    message=f"the {key} must not be an expression: what is published is what is used",
                    hint="use two steps with `when`",
                ),
            )
            return
    if section.is_remote:
        return
    try:
        chart = promise / chart_path(section.chart)
    except InvalidInput as error:
        yield ("chart",), Problem(message=error.message)
        return
    if not chart.is_file() and not (chart / "Chart.yaml").is_file():
        charts = sorted(str(file.parent.relative_to(promise)) for file in promise.rglob("Chart.yaml"))
        yield (
            ("chart",),
            Problem(
                message=f"the promise has no chart {section.chart!r}",
                hint=_meant(section.chart, charts) or "a chart is a folder with Chart.yaml and templates/",
            ),
        )


def _output_problems(section: HelmSection) -> Iterator[_Key]:
    for name, output in section.outputs.items():
        try:
            JsonPath(output.path)
        except ValueError as error:
            yield ("outputs", name, "path"), Problem(message=str(error))
        try:
            if _EXPRESSION not in output.source:
                named_parts(output.source)
        except ValueError as error:
            yield ("outputs", name, "from"), Problem(message=str(error))


def _read(name: str, chart: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The files of a chart that say something of it, parsed, and what is wrong with them."""
    try:
        texts, vendored = _archive(chart) if chart.is_file() else _folder(chart)
    except (OSError, tarfile.TarError, UnicodeDecodeError, ValueError) as error:
        return {}, [Problem(message=f"the chart cannot be read: {error}", file=name)]
    files: dict[str, Any] = {}
    problems: list[Problem] = []
    for file, text in texts.items():
        place = name if chart.is_file() else f"{name.rstrip('/')}/{file}"
        try:
            files[file] = json.loads(text) if file.endswith(".json") else yaml.load(text, Loader=ManifestLoader)  # noqa: S506 - a safe one
        except json.JSONDecodeError as error:
            problems.append(
                Problem(message=f"not valid JSON: {error.msg}", file=place, line=error.lineno, column=error.colno)
            )
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            problems.append(Problem(message="not valid YAML", file=place, line=line, column=column))
    place = name if chart.is_file() else f"{name.rstrip('/')}/Chart.yaml"
    if "Chart.yaml" in files:
        problems += _chart_problems(files["Chart.yaml"], vendored, place)
    return files, problems


def _chart_problems(content: Any, vendored: set[str], file: str) -> Iterator[Problem]:
    if not isinstance(content, dict):
        yield Problem(message="it holds no chart", file=file, hint="apiVersion: v2, name and version are needed")
        return
    for key in ("apiVersion", "name", "version"):
        if not content.get(key):
            yield Problem(message=f"`{key}` is missing", file=file)
    if content.get("type") == "library":
        yield Problem(message="a library chart installs nothing", file=file)
    for dependency in content.get("dependencies") or ():
        name = str(dependency.get("name") or "") if isinstance(dependency, dict) else ""
        if not any(item == name or item.startswith(f"{name}-") for item in vendored):
            yield Problem(
                message=f"the chart needs the chart {name!r}, which is not in charts/",
                file=file,
                hint="`helm dependency update`, and ship what it fetches with the promise",
            )


def _value_problems(section: HelmSection, files: Mapping[str, Any]) -> Iterator[_Key]:
    schema = files.get("values.schema.json")
    if isinstance(schema, dict):
        yield from _unknown(section.values, schema, files.get("values.yaml"), ("values",))


def _unknown(values: Any, schema: Mapping[str, Any], defaults: Any, path: tuple[str | int, ...]) -> Iterator[_Key]:
    """Keys that the chart's schema does not know; where it leaves room, or the chart has them, nothing is said."""
    known = schema.get("properties")
    if not isinstance(values, dict) or not isinstance(known, dict) or any(key in schema for key in _OPEN):
        return
    has = defaults if isinstance(defaults, dict) else {}
    for key, value in values.items():
        below = known.get(key)
        if isinstance(below, dict):
            yield from _unknown(value, below, has.get(key), (*path, key))
        elif key not in known and (
            schema.get("additionalProperties") is False or (key not in has and _close(key, known))
        ):
            yield (
                (*path, key),
                Problem(message=f"the chart's values.schema.json does not know {key!r}", hint=_meant(key, known)),
            )


def _folder(chart: Path) -> tuple[dict[str, str], set[str]]:
    texts = {
        name: (chart / name).read_text(encoding="utf-8")
        for name in ("Chart.yaml", "values.yaml", "values.schema.json")
        if (chart / name).is_file()
    }
    below = chart / "charts"
    return texts, {item.name for item in below.iterdir()} if below.is_dir() else set()


def _archive(chart: Path) -> tuple[dict[str, str], set[str]]:
    texts: dict[str, str] = {}
    vendored: set[str] = set()
    total = count = 0
    with tarfile.open(fileobj=io.BytesIO(chart.read_bytes())) as archive:
        for member in archive:
            count, total = count + 1, total + member.size
            if count > MAX_CHART_FILES or total > MAX_CHART_BYTES:
                raise ValueError(f"more than {MAX_CHART_FILES} files or {MAX_CHART_BYTES >> 20} MiB")
            _, _, name = member.name.removeprefix("./").partition("/")
            if name in {"Chart.yaml", "values.yaml", "values.schema.json"} and (
                data := archive.extractfile(member)
            ):
                texts[name] = data.read().decode()
            elif name.startswith("charts/"):
                vendored.add(name.split("/")[1])
    return texts, vendored


def _close(word: str, names: Iterable[str]) -> bool:
    return bool(difflib.get_close_matches(word, list(names), n=1, cutoff=0.8))


def _meant(word: str, names: Iterable[str]) -> str:
    known = sorted(names)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    return f"there is: {', '.join(known[:_SHOWN])}" if known else ""
