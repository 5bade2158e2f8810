"""The child process of `bondstone.policy.engine`: reads questions, asks rego-cpp, writes answers.

Run by path in an isolated interpreter, so it imports nothing of ours. Strings are handed to rego-cpp as JSON
source and decoded when they come back: rego-cpp keeps every string as it was spelt, and two strings are equal to
it only when they were spelt alike. Its own JSON output does not escape quotes, so results are read node by node.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import signal
import sys
from typing import Any, BinaryIO

from regopy import Interpreter, Node, NodeKind, RegoError
from regopy import rego_shared as rego

MEMORY_BYTES = 2 * 1024**3
KEPT_INTERPRETERS = 4
MAX_VALUES = 1000
"""Most results of one rule that are passed on."""
MAX_DEPTH = 6
LENGTH_BYTES = 8
"""Each message is preceded by its length."""

_ERROR, _MESSAGE, _CODE = 1800, 1801, 1803
_REPORT = re.compile(
    r"\(error \d+:(?P<file>[^|]*)\|(?P<at>\d+)\|\d+\s*\(errormsg \d+:(?P<text>.*?)\)\s*\(errorast", re.DOTALL
)

_kept: dict[str, Interpreter] = {}


class _NotCompiled(Exception):
    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__("not compiled")
        self.problems = problems


def main() -> None:
    """Answer questions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    room = _address_space() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # rego-cpp prints there
    os.dup2(null, 2)  # what has been said up to here, nothing but why it cannot start, whoever asks is told
    questions = sys.stdin.buffer
    while (question := _receive(questions)) is not None:
        signal.setitimer(signal.ITIMER_REAL, question["seconds"])  # its default is to end the process
        answer = json.dumps(_answer(question)).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(len(answer).to_bytes(LENGTH_BYTES) + answer)
        answers.flush()


def _address_space() -> int:
    """Bytes of address space in use: rego-cpp's allocator reserves 256 GiB when it is loaded."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - this process imports little
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 512 * 1024**3


def _receive(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(LENGTH_BYTES)
    if len(header) < LENGTH_BYTES:
        return None
    question: dict[str, Any] = json.loads(stream.read(int.from_bytes(header)))
    return question


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    try:
        interpreter = _interpreter(question["modules"])
        if question.get("check"):
            interpreter.set_input_term("{}")
            return {"problems": _structural(interpreter, question["queries"])}
        interpreter.set_input_term(question["document"])
    except _NotCompiled as error:
        return {"problems": error.problems}
    except RegoError as error:
        return {"problems": [{"message": f"the document cannot be read: {str(error)[:300]}"}]}
    return {"answers": [_ask(interpreter, query) for query in question["queries"]]}


def _interpreter(modules: list[list[str]]) -> Interpreter:
    key = hashlib.sha256(json.dumps(modules).encode()).hexdigest()
    kept = _kept.pop(key, None)
    if kept is None:
        kept, problems = Interpreter(), []
        # A built-in that fails makes a rule undefined by default: a `deny` that should have held would not.
        kept.strict_built_in_errors = True
        for name, source in modules:
            try:
                kept.add_module(name, source)
            except RegoError as error:
                problems += _reported(str(error), source, name)
        if problems:
            raise _NotCompiled(problems)
        while len(_kept) >= KEPT_INTERPRETERS:
            del _kept[next(iter(_kept))]
    _kept[key] = kept
    return kept


def _reported(text: str, source: str, name: str) -> list[dict[str, Any]]:
    """The problems in rego-cpp's error text, the first of each place; offsets are in bytes."""
    data = source.encode()
    found: dict[int, dict[str, Any]] = {}
    for match in _REPORT.finditer(text):
        before = data[: int(match["at"])]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        found.setdefault(line, {"message": match["text"], "file": name, "line": line, "column": column})
    # An unclosed bracket is reported for everything around it, too: innermost first, and that one is right.
    problems = list(found.values()) or [{"message": "it cannot be parsed", "file": name, "line": 1, "column": 1}]
    return problems[:1] if all(item["message"] == "this is unclosed" for item in problems) else problems


def _ask(interpreter: Interpreter, query: str) -> dict[str, Any]:
    output = rego.rego_query(interpreter._impl, query)  # noqa: SLF001 - regopy's own wrapper parses broken JSON
    try:
        root = rego.rego_output_node(output)
        errors = _errors(root)
        if errors:
            return {"error": errors[0][0], "code": errors[0][1]}
        return {"values": _values(Node(root))}
    except (RegoError, ValueError, RecursionError) as error:
        return {"error": f"its result cannot be read: {error}", "code": "result"}
    finally:
        rego.rego_free_output(output)


def _structural(interpreter: Interpreter, queries: list[str]) -> list[dict[str, Any]]:
    """Errors that no document could avoid, such as an unknown function."""
    found: dict[str, dict[str, Any]] = {}
    for query in queries:
        answer = _ask(interpreter, query)
        if answer.get("code") == "wellformed_error" or answer.get("error", "").startswith("Recursion"):
            found[answer["error"]] = {"message": answer["error"]}
    return list(found.values())


def _errors(node: Any) -> list[tuple[str, str]]:
    """Message and code of each error in a result."""
    kind = rego.rego.regoNodeType(node)
    children = [rego.rego_node_get(node, index) for index in range(rego.rego_node_size(node))]
    if kind == _ERROR:
        by_kind = {rego.rego.regoNodeType(child): child for child in children}
        message = rego.rego_node_value(by_kind[_MESSAGE]) if _MESSAGE in by_kind else "unknown error"
        return [(message, rego.rego_node_value(by_kind[_CODE]) if _CODE in by_kind else "")]
    if kind in {NodeKind.Results, NodeKind.Result, NodeKind.Terms, NodeKind.Term, NodeKind.ErrorSeq}:
        return [error for child in children for error in _errors(child)]
    return []


def _values(results: Node) -> list[Any]:
    """The value asked for; none when it is undefined."""
    found: list[Any] = []
    for index in range(rego.rego_node_size(results._impl)):  # noqa: SLF001 - regopy's Node hides some kinds
        result = Node(rego.rego_node_get(results._impl, index))  # noqa: SLF001
        for position in range(rego.rego_node_size(result._impl)):  # noqa: SLF001
            terms = Node(rego.rego_node_get(result._impl, position))  # noqa: SLF001
            if terms.kind == NodeKind.Terms:
                found += [_plain(terms.at(item), MAX_DEPTH) for item in range(len(terms))]
    return found


def _plain(node: Node, depth: int) -> Any:
    """A node as a JSON value. A set becomes `{"$set": […]}`, because an object is not one."""
    if depth < 0:
        return "…"
    match node.kind:
        case NodeKind.Term | NodeKind.Scalar:
            return _plain(node.at(0), depth)
        case NodeKind.Array | NodeKind.Set:
            impls = [rego.rego_node_get(node._impl, i) for i in range(rego.rego_node_size(node._impl))]  # noqa: SLF001
            items = [_plain(Node(impl), depth - 1) for impl in impls[: MAX_VALUES + 1]]
            return {"$set": items} if node.kind == NodeKind.Set else items
        case NodeKind.Object:
            members = {}
            for index in range(rego.rego_node_size(node._impl)):  # noqa: SLF001
                item = Node(rego.rego_node_get(node._impl, index))  # noqa: SLF001
                members[str(_plain(item.at(0), depth - 1))] = _plain(item.at(1), depth - 1)
            return members
        case NodeKind.String:
            return _text(node.value)
        case _:
            return node.value


def _text(spelt: str) -> str:
    quoted = spelt if len(spelt) > 1 and spelt[0] == spelt[-1] == '"' else f'"{spelt}"'  # it does both
    try:
        return str(json.loads(quoted))
    except ValueError:
        return spelt


if __name__ == "__main__":
    main()
