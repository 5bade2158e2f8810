"""Inputs and labels as they stand on a command line: `--set`, `--set-string`, `--set-file`, `--secret`, `-f`."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bondstone.base.errors import InvalidInput
    from bondstone.documents.yaml_places import PlacedDocument

MAX_FILE_BYTES: Final = 256 * 1024
"""Of one file: inputs of a request may not be larger anyway."""
_PATH: Final = re.compile(r"[\w.\-\\]+")


def gather(
    *,
    files: Sequence[str] = (),
    values: Sequence[str] = (),
    strings: Sequence[str] = (),
    from_files: Sequence[str] = (),
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """The inputs that the options of a command give; what is more particular wins.

    Args:
        files: YAML or JSON files (`-` for standard input), merged in order.
        values: `PATH=VALUE`, the value read as YAML.
        strings: `PATH=TEXT`, taken as it stands.
        from_files: `PATH=FILE`, the text of a file as it stands.
        secrets: Paths whose values are asked for.

    Raises:
        InvalidInput: naming the option that cannot be used.
    """
    tree: dict[str, Any] = {}
    for file in files:
        merge(tree, read_mapping(file))
    readers: tuple[tuple[str, Sequence[str], Callable[[str], Any]], ...] = (
        ("--set", values, scalar),
        ("--set-string", strings, str),
        ("--set-file", from_files, lambda name: _text(name, f"--set-file {name}")),
    )
    for option, texts, read in readers:
        for text in texts:
            path, value = pair(text, option)
            assign(tree, split_path(path, option), read(value), option)
    for path, value in ask_secrets(secrets):
        assign(tree, split_path(path, "--secret"), value, "--secret")
    return tree


def pair(text: str, option: str) -> tuple[str, str]:
    """Split `KEY=VALUE` at the first `=`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        shown = key if equals else text
        raise _invalid(f"{option} {shown!r} is not KEY=VALUE", hint=f"write {option} size=small")
    return key, value


def split_path(path: str, option: str) -> list[str]:
    r"""The names of a dotted path; `\.` is a dot inside a name."""
    names = [name.replace("\\.", ".") for name in re.split(r"(?<!\\)\.", path)]
    if not all(names):
        raise _invalid(f"{option} {path!r} has an empty name in its path", hint="write it as in network.cidr")
    return names


def scalar(text: str) -> Any:
    """A value as YAML 1.2 reads it: numbers, true, false, null, [lists], {maps} and quoted text.

    Anything else is text as it stands, dates, URLs and `a: b` too; nothing after the `=` is empty text.
    """
    flow = text.startswith(("[", "{", '"', "'"))
    document = _read_yaml(text.encode(), "")
    if flow and document.problems:
        raise _invalid(
            "a value that begins like a list, a map or quoted text is not valid YAML",
            hint="quote it for the shell, or use --set-string to take it as it stands",
        )
    if flow:
        return document.data
    return text if document.problems or isinstance(document.data, str | dict | list) else document.data


def assign(tree: dict[str, Any], path: Sequence[str], value: Any, option: str) -> None:
    """Put a value at a path, making the maps on the way."""
    holder: Any = tree
    for index, name in enumerate(path[:-1]):
        holder = holder.setdefault(name, {})
        if not isinstance(holder, dict):
            taken = ".".join(path[: index + 1])
            raise _invalid(f"{option} {'.'.join(path)}: {taken} already has a value that is not a map")
    holder[path[-1]] = value


def merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Lay one mapping over another: maps are merged, everything else is replaced."""
    for key, value in other.items():
        held = tree.get(key)
        if isinstance(held, dict) and isinstance(value, Mapping):
            merge(held, value)
        else:
            tree[key] = value


def read_mapping(file: str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file; `-` is standard input."""
    if file == "-":
        data, file = sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input"
        if len(data) > MAX_FILE_BYTES:
            raise _invalid(f"the inputs are larger than {MAX_FILE_BYTES // 1024} KiB", where=file)
    else:
        data = _read(file, f"-f {file}")
    document = _read_yaml(data, file)
    if document.problems:
        raise _invalid("the inputs cannot be read", where=file, problems=document.problems)
    if not isinstance(document.data, dict):
        raise _invalid("the file does not hold a mapping of inputs", where=file, hint="write it as in size: small")
    return document.data


def labels(texts: Sequence[str]) -> dict[str, str]:
    """Labels from `KEY=VALUE`s."""
    return dict(pair(text, "--label") for text in texts)


def label_changes(texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What `KEY=VALUE` and `KEY-` say: labels to set, and keys to remove."""
    wanted: dict[str, str] = {}
    remove: list[str] = []
    for text in texts:
        if "=" in text:
            key, value = pair(text, "label")
            wanted[key] = value
        elif text.endswith("-") and len(text) > 1:
            remove.append(text[:-1])
        else:
            raise _invalid(
                f"{text!r} is neither KEY=VALUE nor KEY-", hint="write tier=data, or tier- to remove it"
            )
    if both := wanted.keys() & set(remove):
        raise _invalid(f"label {min(both)!r} is both set and removed")
    return wanted, remove


def ask_secrets(paths: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Values that must not stand on a command line: typed unseen, or a line of standard input each, in order.

    With one path all of standard input is its value, without the last newline.
    """
    if not paths:
        return
    for path in paths:
        if "=" in path or not _PATH.fullmatch(path):  # what is there may be the value: it is not repeated
            raise _invalid(
                "--secret takes the path of an input, and nothing else on the command line",
                hint="write --secret auth.token and type the value, or pipe it in. A value that stood there is "
                "in your shell's history now: use another one",
            )
    if sys.stdin.isatty():
        for path in paths:
            yield path, getpass.getpass(f"{path}: ", stream=sys.stderr)
        return
    text = sys.stdin.read(MAX_FILE_BYTES + 1).removesuffix("\n")
    lines = [text] if len(paths) == 1 else text.split("\n")
    if len(lines) != len(paths) or not text:
        received = "nothing" if not text else f"{len(lines)} lines"
        raise _invalid(
            f"standard input has {received} for {', '.join(f'--secret {path}' for path in paths)}",
            hint="give one line for each, in order",
        )
    yield from zip(paths, lines, strict=True)


def _text(file: str, where: str) -> str:
    try:
        return _read(file, where).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid("the file is not UTF-8 text", where=where) from error


def _read(file: str, where: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _invalid(f"the file cannot be read: {error.strerror}", where=where) from error
    if len(data) > MAX_FILE_BYTES:
        raise _invalid(f"the file is larger than {MAX_FILE_BYTES // 1024} KiB", where=where)
    return data


def _read_yaml(data: bytes, file: str) -> PlacedDocument:
    from bondstone.documents.yaml_places import read  # noqa: PLC0415 - only when there is something to read

    return read(data, file)


def _invalid(message: str, **fields: Any) -> InvalidInput:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - a quarter of a second, paid only by failures

    return InvalidInput(message, **fields)
