"""The child process of `bondstone.rego.embedded`: reads questions, asks regorus, writes answers.

It has no environment, a bound of memory and an alarm for time. Modules are examined before they are asked anything
(`bondstone.rego.restrictions`), so that what regorus would decide otherwise than OPA is refused here, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

import regorus

from bondstone.rego.definitions import paths
from bondstone.rego.functions import COUNT, FUNCTIONS
from bondstone.rego.heads import with_plain_heads
from bondstone.rego.negations import with_operands_before_negations
from bondstone.rego.numbers import EXACT_BOUND, Fractions, exact
from bondstone.rego.restrictions import RulePlace, examine

MEMORY_BYTES: Final = 2 * 1024**3
KEPT_ENGINES: Final = 4
LENGTH_BYTES: Final = 8
"""Each message is preceded by its length."""
MAX_COLUMNS: Final = 256 * 1024

_WIDE: Final = re.compile("[\U00010000-\U0010ffff]|\\\\u[dD][89a-fA-F]")
"""Characters beyond 16 bits, plain or as JSON escapes them."""
_REPORT: Final = re.compile(r"--> (?P<file>.*):(?P<line>\d+):(?P<column>\d+)\n")
_CALLED: Final = re.compile(r"extension '(?P<name>[^']+)' raises Python error: \w+: (?P<reason>.*)", re.DOTALL)
_OPENER: Final = re.compile(r"[\w.]+(?=\()")
_BEFORE_V1: Final = ("`if` keyword is required before rule body", "`contains` keyword is required")


@dataclass(slots=True)
class _Loaded:
    """Modules, ready to be asked, or what is wrong with them."""

    engine: Any
    sources: dict[str, str]
    problems: list[dict[str, Any]] = field(default_factory=list)
    inexact: RulePlace | None = None


_kept: dict[str, _Loaded] = {}


def main() -> None:
    """Answer questions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS has no such bound
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # regorus prints there
    os.dup2(null, 2)  # up to here whoever asks reads why it cannot start
    questions = sys.stdin.buffer
    while (question := _receive(questions)) is not None:
        signal.setitimer(signal.ITIMER_REAL, question["seconds"])  # its default is to end the process
        answer = json.dumps(_answer(question)).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(len(answer).to_bytes(LENGTH_BYTES) + answer)
        answers.flush()


def _receive(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(LENGTH_BYTES)
    if len(header) < LENGTH_BYTES:
        return None
    question: dict[str, Any] = json.loads(stream.read(int.from_bytes(header)))
    return question


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    wide = any(
        map(_WIDE.search, (question.get("document", ""), *question["data"], *dict(question["modules"]).values()))
    )
    loaded = _loaded(question["modules"], question["data"], wide=wide)
    if loaded.problems or "document" not in question:
        return {"problems": loaded.problems}
    Fractions.allowed = loaded.inexact is None
    complaint = _unfit([question["document"], *question["data"]], loaded.inexact)
    if complaint:
        return {"problems": [complaint]}
    try:
        loaded.engine.set_input_json(question["document"])
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is none of Python's exceptions
        return {"problems": [{"message": f"the document cannot be read: {_message(str(error))}"}]}
    return {"answers": [_ask(loaded, query) for query in question["queries"]]}


def _loaded(modules: list[list[str]], data: list[str], *, wide: bool) -> _Loaded:
    key = hashlib.sha256(json.dumps([modules, data, wide]).encode()).hexdigest()
    kept = _kept.pop(key, None)
    if kept is None:
        kept = _load(modules, data, wide=wide)
        while len(_kept) >= KEPT_ENGINES:
            del _kept[next(iter(_kept))]
    _kept[key] = kept
    return kept


def _load(modules: list[list[str]], data: list[str], *, wide: bool) -> _Loaded:
    engine = _engine(wide=wide)
    loaded = _Loaded(engine, dict(modules))
    trees = _parse(loaded, modules)
    if loaded.problems:
        return loaded
    findings = examine(trees)
    loaded.problems, loaded.inexact = findings.problems, findings.inexact
    if loaded.problems:
        return loaded
    known = frozenset(path for tree in trees for path in paths(tree))
    for rewritten in (partial(with_operands_before_negations, known=known), with_plain_heads):
        trees = _rewrite(loaded, trees, rewritten, wide=wide)
        if loaded.problems:
            return loaded
    engine = loaded.engine
    try:
        for text in data:
            engine.add_data_json(text)
        engine.set_input_json("{}")
        engine.eval_query("true")  # compiles: variables without a value, cycles, conflicts
    except BaseException as error:  # noqa: BLE001 - see _answer
        loaded.problems.append(_reported(str(error), "", ""))
    return loaded


def _rewrite(
    loaded: _Loaded, trees: list[dict[str, Any]], rewritten: Callable[[dict[str, Any]], str], *, wide: bool
) -> list[dict[str, Any]]:
    """Give a new engine what a pass makes of each module, unless it leaves all as they are."""
    modules = [[tree["source"]["file"], rewritten(tree)] for tree in trees]
    if [source for _, source in modules] == [tree["source"]["contents"] for tree in trees]:
        return trees
    loaded.sources, loaded.engine = dict(modules), _engine(wide=wide)
    return _parse(loaded, modules)


def _parse(loaded: _Loaded, modules: list[list[str]]) -> list[dict[str, Any]]:
    """Give the engine some modules; their syntax trees."""
    for name, source in modules:
        try:
            loaded.engine.add_policy(name, source)
        except BaseException as error:  # noqa: BLE001 - see _answer
            loaded.problems.append(_reported(str(error), name, source))
    trees: list[dict[str, Any]] = [] if loaded.problems else json.loads(loaded.engine.get_ast_as_json())
    return trees


def _engine(*, wide: bool = False) -> Any:
    engine = regorus.Engine()
    if wide:
        engine.add_extension(*COUNT)
    engine.set_gather_prints(True)
    engine.set_policy_length_config(max_col=MAX_COLUMNS, max_file_bytes=1024 * 1024, max_lines=100_000)
    for name, (operands, function) in FUNCTIONS.items():
        engine.add_extension(name, operands, function)
    return engine


def _ask(loaded: _Loaded, query: str) -> dict[str, Any]:
    try:
        results = json.loads(loaded.engine.eval_query_as_json(query)).get("result") or []
        return {"values": [result["expressions"][0]["value"] for result in results]}
    except BaseException as error:  # noqa: BLE001 - see _answer
        return {"error": _described(str(error), loaded.sources)}


def _unfit(texts: list[str], inexact: RulePlace | None) -> dict[str, Any] | None:
    """Why numbers of the document or the data could be decided otherwise than by OPA."""
    fractions: list[str] = []
    large: list[str] = []
    every: list[str] = []
    wide: list[str] = []

    def fraction(text: str) -> float:
        number = float(text)
        every.append(text)
        if not exact(number):
            fractions.append(text)
        return number

    def whole(text: str) -> int:
        number = int(text)
        if not exact(number):
            large.append(text)
        elif abs(number) >= EXACT_BOUND:
            wide.append(text)
        return number

    for text in texts:
        json.loads(text, parse_float=fraction, parse_int=whole)
    if large:
        return {
            "message": f"the number {large[0][:40]} is beyond 64 bits, which the embedded engine does not hold"
        }
    if every and wide:
        fractions += wide  # one added to the other needs more digits than a double has
    if fractions and inexact is not None:
        return {
            "file": inexact.file, "line": inexact.line, "column": inexact.column,
            "message": f"this arithmetic may meet {fractions[0][:40]}, and the embedded engine does not add and"
            " multiply such fractions as OPA does: count in whole numbers, or let OPA decide (BOND_OPA)",
        }  # fmt: skip
    return None


def _reported(text: str, name: str, source: str) -> dict[str, Any]:
    match = _REPORT.search(text)
    problem: dict[str, Any] = {"message": _message(text), "file": name, "line": 1, "column": 1}
    if match:
        problem |= {"file": match["file"], "line": int(match["line"]), "column": int(match["column"])}
    if source and _parses_before_v1(name, source):
        problem["message"] = f"syntax from before Rego v1: {problem['message']}"
        problem["hint"] = f"`opa fmt --write --v0-v1 {name}` converts the file"
    return problem


def _parses_before_v1(name: str, source: str) -> bool:
    engine = _engine()
    engine.set_rego_v0(True)
    try:
        engine.add_policy(name, source)
    except BaseException:  # noqa: BLE001 - see _answer
        return False
    return True


def _described(text: str, sources: dict[str, str]) -> str:
    """An error of an evaluation on one line: file, line, built-in function, reason."""
    message = _message(text)
    match = _REPORT.search(text)
    if match is None:
        return message
    called = _CALLED.search(message)
    if called:
        message = f"{called['name']}: {called['reason'].splitlines()[0]}"
    else:
        lines = sources.get(match["file"], "").splitlines()
        number = int(match["line"])
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        names = _OPENER.findall(line[: int(match["column"])])
        if names and names[-1] not in message:
            message = f"{names[-1]}: {message}"
    return f"{match['file']}:{match['line']}: {message}"


def _message(text: str) -> str:
    """What regorus says, without the picture of the place and without Rust's own trace."""
    text = text.split("Stack backtrace:", maxsplit=1)[0].strip()
    _, separator, after = text.partition("\nerror: ")
    message = after.split("\n-->")[0] if separator else text
    return " ".join(message.split())[:500]


if __name__ == "__main__":
    main()
