"""YAML read with bounds and with places: where every key and value of a document stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bondstone.base.errors import InvalidInput, Problem, PromiseInvalid

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 40
MAX_DOCUMENTS: Final = 500
MAX_NODES: Final = 20_000
"""Most values in one document, counted after aliases are expanded."""

MAX_STREAM_NODES: Final = 60_000
"""Most values in all documents of a file."""

Path_ = tuple[str | int, ...]

_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column (from 1) of a key or value."""

    line: int
    column: int
    inline: bool = False
    """A scalar whose text stands in the file just as it is, so that columns inside it can be told."""


@dataclass(slots=True)
class PlacedDocument:
    """One YAML document: its data, and where everything in it stands."""

    file: str
    data: Any = None
    keys: dict[Path_, Place] = field(default_factory=dict)
    values: dict[Path_, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Iterable[str | int], message: str, *, hint: str = "", key: bool = False) -> Problem:
        """A problem at a path, or at the nearest thing above it that is in the file."""
        place = self.place(tuple(path), key=key)
        return Problem(message=message, file=self.file, line=place.line, column=place.column, hint=hint)

    def inside(self, path: Path_, offset: int, message: str, *, hint: str = "") -> Problem:
        """A problem at an offset inside the text of a scalar; at its start when the text spans lines."""
        place = self.place(path)
        column = place.column + offset if place.inline else place.column
        return Problem(message=message, file=self.file, line=place.line, column=column, hint=hint)

    def place(self, path: Path_, *, key: bool = False) -> Place:
        """Where a path stands: its key or its value."""
        while path:
            place = (self.keys.get(path) if key else None) or self.values.get(path) or self.keys.get(path)
            if place:
                return place
            path = path[:-1]
            key = True
        return self.values.get((), Place(1, 1))


class _TooLargeError(Exception):
    pass


class _BoundedComposer(Composer):
    """Gives up early: the library reads some ten thousand values a second, and is given files of a megabyte."""

    most = MAX_NODES

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.most -= 1
        if self.most < 0:
            raise _TooLargeError(f"the file holds more than {type(self).most} values, aliases expanded")
        return super().compose_node(parent, index)


class _BoundedStreamComposer(_BoundedComposer):
    most = MAX_STREAM_NODES


_UNREADABLE: Final = (UnicodeDecodeError, RecursionError, YAMLError, ValueError, _TooLargeError)


def _yaml(composer: type[_BoundedComposer] = _BoundedComposer) -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = composer
    yaml.max_depth = 2 * MAX_DEPTH  # a bound of what is read; what is built is bounded where it is built
    yaml.composer.warn_double_anchors = False  # YAML lets a name be given again
    return yaml


def read(data: bytes, file: str) -> PlacedDocument:
    """Read one YAML document; what is wrong with it is in `problems`."""
    document = PlacedDocument(file)
    if len(data) > MAX_BYTES:
        document.problems.append(Problem(message=f"the file is larger than {MAX_BYTES // 1024} KiB", file=file))
        return document
    try:
        node = _yaml().compose(data.decode("utf-8"))
    except _UNREADABLE as error:
        document.problems.append(_unreadable(error, file, data))
        return document
    if node is None:
        document.problems.append(Problem(message="the file is empty", file=file, line=1, column=1))
    else:
        _Builder(document).start(node)
    return document


def read_file(path: Path, file: str) -> PlacedDocument:
    """Read a YAML file; not being there is a problem too."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b" " * (MAX_BYTES + 1)
    except OSError as error:
        return PlacedDocument(file, problems=[Problem(message=f"cannot be read: {error.strerror}", file=file)])
    return read(data, file)


def read_stream(path: Path, file: str) -> list[PlacedDocument]:
    """Read a YAML file of several documents; one that is empty has no data and no problem."""
    first = PlacedDocument(file)
    documents = [first]
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        first.problems.append(Problem(message=f"cannot be read: {error.strerror}", file=file))
        return documents
    if data is None:
        first.problems.append(Problem(message=f"the file is larger than {MAX_BYTES // 1024} KiB", file=file))
        return documents
    try:
        for index, node in enumerate(_yaml(_BoundedStreamComposer).compose_all(data.decode("utf-8"))):
            if index == MAX_DOCUMENTS:
                first.problems.append(
                    Problem(message=f"the file holds more than {MAX_DOCUMENTS} documents", file=file)
                )
                break
            document = PlacedDocument(file)
            documents.append(document)
            if node is not None:
                _Builder(document).start(node)
    except _UNREADABLE as error:
        first.problems.append(_unreadable(error, file, data))
    return documents


def _unreadable(error: Exception, file: str, data: bytes) -> Problem:
    """What is wrong with a file that cannot be read as YAML at all."""
    match error:
        case UnicodeDecodeError():
            return Problem(message="the file is not UTF-8 text", file=file)
        case RecursionError() | MaxDepthExceededError():
            return Problem(message=f"the file is nested deeper than {MAX_DEPTH}", file=file)
        case _TooLargeError():
            return Problem(message=str(error), file=file, line=1, column=1)
        case MarkedYAMLError():
            return _syntax(error, file, data.decode("utf-8", "replace"))
    return Problem(message=f"the file is not YAML: {error}".splitlines()[0], file=file)


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """`did you mean 'size'?`, or what there is to choose from."""
    names = sorted(among)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(names)}" if names else ""


def model_problems(
    document: PlacedDocument, error: ValidationError, model: type[BaseModel], prefix: Path_ = ()
) -> list[Problem]:
    """The findings of a pydantic model as problems with places and in words."""
    return [_model_problem(document, item, model, prefix) for item in error.errors(include_url=False)]


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems by place, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column, p.message)))


def refuse(problems: Iterable[Problem], what: str, error: type[InvalidInput] = PromiseInvalid) -> InvalidInput:
    """The error that carries problems."""
    sorted_problems = ordered(problems)
    count = "1 problem" if len(sorted_problems) == 1 else f"{len(sorted_problems)} problems"
    return error(f"{what} is not valid: {count}", problems=sorted_problems)


# Words for the findings of pydantic ----------------------------------------------------------------------

_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "float_type": "a number",
    "float_parsing": "a number",
}

_BOUNDS: Final = {
    "greater_than_equal": ("be at least", "ge"),
    "less_than_equal": ("be at most", "le"),
    "string_too_long": ("have at most this many characters:", "max_length"),
    "too_long": ("have at most this many entries:", "max_length"),
}


def _model_problem(document: PlacedDocument, item: ErrorDetails, model: type[BaseModel], prefix: Path_) -> Problem:
    at: Path_ = tuple(part for part in item["loc"] if part != "[key]")
    path, name = (*prefix, *at), at[-1] if at else ""
    if item["type"] == "extra_forbidden":
        return document.problem(
            path, f"unknown key {name!r}", hint=did_you_mean(str(name), _keys(model, at)), key=True
        )
    if item["type"] == "missing":
        where = f" in {_dotted(path[:-1])}" if path[:-1] else ""
        return document.problem(path[:-1], f"{name!r} is missing{where}", key=True)
    while path[len(prefix) :] and path not in document.values:
        path = path[:-1]  # a member of a union is part of the location, but not of the file
    words, hint = _words(item, _dotted(path))
    return document.problem(path, words, hint=hint, key="[key]" in item["loc"] or item.get("input") is None)


def _words(item: ErrorDetails, name: str) -> tuple[str, str]:
    """Message and hint for a value that is not what it should be."""
    kind, value = item["type"], item.get("input")
    if kind == "string_type" and name.endswith("version") and isinstance(value, int | float):
        return f"{name}: {value} is a number, not a version", "write MAJOR.MINOR.PATCH, as in 1.4.0"
    if kind in _KINDS:
        quote = kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool)
        return (
            f"{name} must be {_KINDS[kind]}, not {_shown(value)}",
            f'write it in quotes: "{value}"' if quote else "",
        )
    if kind == "literal_error":
        expected = str(item.get("ctx", {}).get("expected", ""))
        choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
        hint = did_you_mean(value, choices) if isinstance(value, str) and len(choices) > 1 else ""
        return f"{name} must be {expected}, not {_shown(value)}", hint
    if kind == "string_pattern_mismatch":
        return f"{name}: {_shown(value)} is not a name", (
            "use 1 to 48 of a-z, 0-9 and '-', starting with a letter and not ending with '-'"
        )
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{name} must {word} {item.get('ctx', {}).get(key)}, not {_shown(value)}", ""
    return (f"{name} must not be empty" if kind == "too_short" else f"{name}: {item['msg']}"), ""


def _keys(model: type[BaseModel], at: Path_) -> list[str]:
    """The keys that the innermost model on a path knows."""
    current: Any = model
    for part in at[:-1]:
        fields = getattr(current, "model_fields", {})
        info = next((info for name, info in fields.items() if part in {name, info.alias}), None)
        if info is not None:
            current = _inner_model(info.annotation) or current
    return [info.alias or name for name, info in getattr(current, "model_fields", {}).items()]


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (inner := _inner_model(argument)) is not None:
            return inner
    return None


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the document"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")  # noqa: PLR2004 - fits a line
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else "nothing"


# Building ------------------------------------------------------------------------------------------------


def _int(text: str) -> int:
    plain = text.replace("_", "")
    return int(plain, 0) if plain.lstrip("+-")[:2] in {"0x", "0o"} else int(plain)


_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": lambda text: float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
    "timestamp": str,
    "value": str,
}


class _Builder:
    """Turns composed nodes into plain data, counting and noting places."""

    def __init__(self, document: PlacedDocument) -> None:
        self.document = document
        self.count = 0

    def start(self, node: Node) -> None:
        try:
            self.document.data = self._value(node, ())
        except _TooLargeError as error:
            self._report(node, str(error))

    def _value(self, node: Node, path: Path_) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            raise _TooLargeError(f"the file holds more than {MAX_NODES} values, aliases expanded")
        if len(path) > MAX_DEPTH:
            raise _TooLargeError(f"the file is nested deeper than {MAX_DEPTH}")
        self.document.values[path] = _place(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._report(key_node, "a key must be text")
                continue
            key = str(key_node.value)
            if key_node.tag == f"{_TAG}merge":
                self._report(key_node, "merge keys (<<) are not supported", "write the keys out")
                continue
            if key in mapping:
                first = self.document.keys[(*path, key)]
                self._report(key_node, f"{key!r} is there more than once", f"the first is in line {first.line}")
                continue
            self.document.keys[(*path, key)] = _place(key_node)
            mapping[key] = self._value(value_node, (*path, key))
        return mapping

    def _scalar(self, node: ScalarNode) -> Any:
        tag, text = str(node.tag or f"{_TAG}str").removeprefix(_TAG), str(node.value)
        read = _SCALARS.get(tag)
        if read is None:
            self._report(node, f"the tag {node.tag!r} is not read", "write plain YAML")
            return text
        try:
            return read(text)
        except ValueError:
            return text

    def _report(self, node: Node, message: str, hint: str = "") -> None:
        place = _place(node)
        self.document.problems.append(
            Problem(message=message, file=self.document.file, line=place.line, column=place.column, hint=hint)
        )


def _place(node: Node) -> Place:
    start, end = node.start_mark, node.end_mark
    line, column = start.line + 1, start.column + 1
    if not isinstance(node, ScalarNode) or node.style in {"|", ">"}:
        return Place(line, column)
    quote = 1 if node.style in {"'", '"'} else 0
    inline = start.line == end.line and end.column - start.column == len(node.value) + 2 * quote
    return Place(line, column + quote, inline=True) if inline else Place(line, column)


def _syntax(error: MarkedYAMLError, file: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(message=f"YAML: {error.problem or error.context or 'it cannot be read'}", file=file)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    words = " ".join(str(part) for part in (error.context, error.problem) if part) or "it cannot be read"
    hint = "check indentation, and quote text that holds ': ', '#', '{' or '['"
    if "\t" in line[: mark.column + 1]:
        words, hint = "a tab is not indentation", "use spaces"
    elif re.search(r"(?<![\"'])\$\{", line):
        hint = 'put the expression in quotes, as in "${inputs.size}"'
    return Problem(message=f"YAML: {words}", file=file, line=mark.line + 1, column=mark.column + 1, hint=hint)
