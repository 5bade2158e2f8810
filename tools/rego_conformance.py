"""Ask every engine OPA's own test cases, as policies are asked, and write down what comes of it.

python -m tools.rego_conformance            write `bondstone/rego/support.json`; `python -m tools.generate` next
python -m tools.rego_conformance --check    exit 1 when an engine decides a case wrongly and silently

The cases come from `opa-cases` (`make tools`), with what OPA itself answers when failing built-in functions are
errors. Each case is one of: right; refused (when the policy is published, with file and line); failed (an error
when it is asked, so that the policy denies); wrong. The functions of wrong and failed cases are refused.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bondstone.rego.embedded import Embedded
from bondstone.rego.engine import FORBIDDEN, Engine, EngineFailed, Question
from bondstone.rego.opa import Opa
from harness.pinned import TOOLS, ToolMissing, find

ROOT: Final = Path(__file__).resolve().parent.parent
SUPPORT: Final = ROOT / "bondstone" / "rego" / "support.json"
CASE_SECONDS: Final = 20.0
ASKED: Final = "conformance"

Verdict = Literal["right", "refused", "failed", "wrong", "skipped"]
_OPERATORS: Final = frozenset(
    {"assign", "eq", "equal", "neq", "lt", "lte", "gt", "gte", "plus", "minus", "mul", "div", "rem", "and", "or"}
    | {"internal.member_2", "internal.member_3", "internal.print", "print", "trace"}
)


@dataclass(frozen=True, slots=True)
class Case:
    """One of OPA's test cases."""

    note: str
    group: str
    query: str
    modules: tuple[str, ...]
    data: str
    document: str
    calls: frozenset[str]
    """Built-in functions that it calls; operators left out."""
    unsorted: bool
    skipped: str
    answer: tuple[Mapping[str, Any], ...]
    error: str

    @property
    def question(self) -> Question:
        """It, as an engine of ours is asked."""
        names = sorted({name for bindings in self.answer for name in bindings})
        term = "{" + ", ".join(f"{json.dumps(name)}: {name}" for name in names) + "}" if names else "1"
        modules = [(f"test-{index}.rego", source) for index, source in enumerate(self.modules)]
        if "(" not in self.query:
            return Question(tuple(modules), (f"[{term} | {self.query}]",), (self.data,) if self.data else ())
        modules.append(("query.rego", f"package {ASKED}\n\nanswer := [{term} | {self.query}]\n"))
        return Question(tuple(modules), (f"data.{ASKED}.answer",), (self.data,) if self.data else ())


def cases() -> list[Case]:
    """OPA's test cases.

    Raises:
        ToolMissing: `opa-cases` was not built.
    """
    ran = subprocess.run([find("opa-cases")], capture_output=True, check=True)
    cases_of_suite = []
    for line in ran.stdout.decode().splitlines():
        item = json.loads(line)
        cases_of_suite.append(
            Case(
                note=item["note"],
                group=item["group"],
                query=item["query"],
                modules=tuple(item["modules"] or ()),
                data=_text(line, "data") if item.get("data") else "",
                document=_text(line, "input") if "input" in item else "null",
                calls=frozenset(item["calls"]) - _OPERATORS,
                unsorted=item.get("unsorted", False),
                skipped=item.get("skipped", ""),
                answer=tuple(item["answer"] or ()),
                error=item.get("error", ""),
            )
        )
    return cases_of_suite


def judge(engine: Engine, case: Case) -> tuple[Verdict, str]:
    """What an engine makes of a case, and in which words.

    Args:
        engine: Which.
        case: Which.
    """
    if case.skipped:
        return "skipped", case.skipped
    problems = engine.check(case.question)
    if problems:
        return ("right" if case.error else "refused"), str(problems[0])
    try:
        (answer,) = engine.evaluate(case.question, case.document, timeout_seconds=CASE_SECONDS)
    except EngineFailed as error:
        return ("right" if case.error else "failed"), str(error)
    if answer.error:
        return ("right" if case.error else "failed"), answer.error
    expected = _comparable(list(case.answer) or ([1] if case.answer else []), sort=case.unsorted)
    answered = _comparable(answer.values[0] if answer.values else [], sort=case.unsorted)
    if not case.error and answered == expected:
        return "right", ""
    return (
        "wrong",
        f"{json.dumps(answer.values)[:200]} in place of {(case.error or json.dumps(case.answer))[:200]}",
    )


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Ask every engine OPA's own test cases.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a case is decided wrongly"
    )
    parser.add_argument("--verbose", action="store_true", help="name the cases that are wrong, failed or refused")
    parser.add_argument("--opa", action="store_true", help="ask OPA too, through our seam; takes ten minutes")
    options = parser.parse_args()
    try:
        suite, opa = cases(), find("opa")
    except ToolMissing as error:
        print(error, file=sys.stderr)
        return 1
    support = {} if options.check else _support(suite, opa)
    wrong = 0
    engines: list[Engine] = [Embedded(), *([Opa(str(opa))] if options.opa else [])]
    for engine in engines:
        judged = [(case, *judge(engine, case)) for case in suite]
        engine.close()
        counts = Counter(verdict for _, verdict, _ in judged)
        print(f"{engine.version}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
        for case, verdict, words in judged:
            if verdict == "wrong" or (options.verbose and verdict in {"failed", "refused"}):
                print(f"  {verdict}: {case.note} {sorted(case.calls)}: {words}")
        wrong += counts["wrong"]
        if support and isinstance(engine, Embedded):
            _write({**support, "cases": dict(sorted(counts.items())), "groups": _groups(judged)})
    return int(wrong > 0)


def _groups(judged: Iterable[tuple[Case, Verdict, str]]) -> dict[str, dict[str, int]]:
    """Cases by the group that OPA puts them in and by what became of them."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for case, verdict, _ in judged:
        groups[case.group][verdict] += 1
    return {group: dict(sorted(counts.items())) for group, counts in sorted(groups.items())}


def _support(suite: Iterable[Case], opa: Path) -> dict[str, Any]:
    """Ask with nothing refused, and refuse what is then lacking or answered otherwise."""
    ran = subprocess.run([opa, "capabilities", "--current"], capture_output=True, check=True)
    known = {item["name"] for item in json.loads(ran.stdout)["builtins"]} - _OPERATORS
    _write({"supported": sorted(known), "refused": {}})
    engine = Embedded()
    judged = [(case, *judge(engine, case)) for case in suite if case.calls]
    engine.close()
    right: Counter[str] = Counter()
    lacking: set[str] = set()
    for case, verdict, words in judged:
        missing = re.search(r"could not find function ([\w.]+)", words)
        if verdict in {"failed", "wrong"} and missing:
            lacking.add(missing[1])
        if verdict == "right" and not case.error:
            right.update(case.calls)
    lacking |= {name for name in known if not name.startswith("internal.") and not _has(name)}
    other: Counter[str] = Counter()
    for case, verdict, words in judged:
        if verdict in {"failed", "wrong"} and not case.calls & lacking:
            named = re.search(r"rego:\d+: ([\w.]+):", words)
            by_count = min(case.calls, key=lambda name: (right[name], name))
            other[named[1] if named and named[1] in case.calls else by_count] += 1
    refused = dict.fromkeys(lacking, "it has no such function")
    refused |= {
        name: f"{count} of OPA's cases {'is' if count == 1 else 'are'} answered otherwise"
        for name, count in other.items()
    }
    tested = set(right) | {name for case, verdict, _ in judged if verdict == "right" for name in case.calls}
    refused |= dict.fromkeys(known - tested - set(refused), "no case of OPA's tests it")
    refused = {name: reason for name, reason in refused.items() if name not in FORBIDDEN and name in known}
    supported = known - set(refused) - set(FORBIDDEN)
    support: dict[str, Any] = {"supported": sorted(supported), "refused": dict(sorted(refused.items()))}
    _write(support)
    return support


def _has(name: str) -> bool:
    """Whether regorus knows a function at all."""
    import regorus  # noqa: PLC0415 - only here outside the child

    engine = regorus.Engine()
    try:
        engine.eval_query(f"{name}()")
    except RuntimeError as error:
        return "could not find function" not in str(error)
    return True


def _write(support: Mapping[str, Any]) -> None:
    versions = {"opa": TOOLS["opa"].version, "embedded": Embedded().version}
    SUPPORT.write_text(json.dumps({**versions, **support}, indent=1) + "\n", encoding="utf-8")


def _text(line: str, member: str) -> str:
    """A member of an object as the text that it is, so that no number changes."""
    decoder = json.JSONDecoder()
    position = line.index("{") + 1
    while True:
        position = re.compile(r"[\s,]*").match(line, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        name, position = decoder.raw_decode(line, position)
        position = line.index(":", position) + 1
        _, end = decoder.raw_decode(line, position)
        if name == member:
            return line[position:end]
        position = end


def _comparable(value: Any, *, sort: bool) -> str:
    """A list of bindings as text: a set, with sets inside when they are sorted."""
    if not isinstance(value, list):
        return json.dumps(value)
    return json.dumps(sorted({json.dumps(_sorted(_plain(item), sort=sort), sort_keys=True) for item in value}))


def _sorted(bindings: Any, *, sort: bool) -> Any:
    if not sort or not isinstance(bindings, dict):
        return bindings
    return {
        name: sorted(item, key=json.dumps) if isinstance(item, list) else item for name, item in bindings.items()
    }


def _plain(value: Any) -> Any:
    """Numbers by their value: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
