"""The conventions of conftest: exceptions, details, namespaces, data files, tests of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bondstone.base.errors import PolicyInvalid
from bondstone.policy import Module, check_syntax, evaluate, load_modules
from bondstone.policy.data_files import DataInvalid, as_json
from bondstone.policy.modules import load_valid
from bondstone.policy.testing import run_tests
from tests.unit.rego_engines import ENGINES, deciding


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


EXCEPTED = """package main

deny_root contains "runs as root" if input.root
deny_latest contains "is latest" if input.latest
deny contains "plain" if input.plain
warn_root contains "is odd" if input.root
approval_root contains {"msg": "ask"} if input.root

exception contains rules if {
	input.name == "trusted"
	rules := ["root", ""]
}
"""


def findings_of(document: dict, *modules: Module) -> list[tuple[str, str]]:
    decision = evaluate(modules, document)
    return [(finding.level, finding.message) for finding in decision.findings]


def test_an_exception_takes_the_force_of_the_rules_that_it_names_and_of_no_other() -> None:
    everything = {"root": True, "latest": True, "plain": True}
    module = Module("a.rego", EXCEPTED)
    assert findings_of({**everything, "name": "other"}, module) == [
        ("deny", "plain"),
        ("deny", "is latest"),
        ("deny", "runs as root"),
        ("approval", "ask"),
        ("warn", "is odd"),
    ]
    assert findings_of({**everything, "name": "trusted"}, module) == [
        ("deny", "is latest"),
        ("approval", "ask"),
        ("warn", "by exception: plain"),
        ("warn", "by exception: runs as root"),
        ("warn", "by exception: is odd"),
    ]


def test_an_exception_is_of_its_own_package_only() -> None:
    other = Module("b.rego", 'package other\ndeny_root contains "other" if input.root\n')
    result = findings_of({"root": True, "name": "trusted"}, Module("a.rego", EXCEPTED), other)
    assert ("deny", "other") in result


def test_an_exception_that_fails_denies() -> None:
    module = Module(
        "a.rego", 'package main\ndeny_a contains "a" if false\nexception contains ["a"] if upper(input.n) == "A"\n'
    )
    decision = evaluate([module], {"n": 1})
    assert decision.outcome == "deny"
    assert "upper" in decision.findings[0].message


def test_what_else_an_object_says_is_kept_and_secrets_in_it_are_masked() -> None:
    source = 'package main\nviolation contains {"msg": "no", "details": {"port": 22, "key": input.key}} if true\n'
    decision = evaluate([Module("a.rego", source)], {"key": "hunter2-hunter2"}, secrets=["hunter2-hunter2"])
    assert decision.findings[0].details == {"details": {"port": 22, "key": "(secret)"}}


def test_a_decision_says_which_engine_made_it(deciding_engine: str) -> None:
    assert evaluate([], {}).engine.startswith(f"{deciding_engine} ")


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_json", ".json").replace(
            "_rego", ".rego"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


POLICY = """package main

deny contains msg if {
	input.size in data.limits.forbidden
	msg := sprintf("%q, over %d", [input.size, data.most])
}
"""
PASSING = (
    'package main\n\ntest_huge if count(deny) == 1 with input as {"size": "huge"}\n\ntodo_test_more if false\n'
)


def test_data_files_become_data_below_their_folders(tmp_path: Path) -> None:
    folder = write(
        tmp_path, a_rego=POLICY, limits__sizes_yaml="forbidden: [huge]\n", b_json='{"most": 9007199254740993}'
    )
    assert findings_of({"size": "huge"}, *load_valid(folder)) == [("deny", '"huge", over 9007199254740993')]
    assert findings_of({"size": "small"}, *load_valid(folder)) == []


def test_data_files_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, a_rego=POLICY, b_json='{"most": 1}', c_json='{"most": 2}')
    assert "data.most, too" in str(check_syntax(load_modules(folder))[0])
    (folder / "c.json").write_text('{"main": {"deny": []}}')
    assert "which is a rule's name" in str(check_syntax(load_modules(folder))[0])


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("a.yaml", "x: on\n", "a.yaml:1:4: readers of YAML differ over 'on'"),
        ("a.yaml", "x: 0777\n", "differ"),
        ("a.yaml", "x: 2024-01-01\n", "differ"),
        ("a.yaml", "x: &a [1]\ny: *a\n", "aliases"),
        ("a.yaml", "x: 1\nx: 2\n", "named twice"),
        ("a.yaml", "1: x\n", "a name that is not text"),
        ("a.yaml", "- 1\n", "an object"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.json", "[1]", "an object"),
        ("a.json", '{"a": 1, "a": 2}', "a member twice"),
        ("a.json", "{", "not JSON"),
    ],
)
def test_a_data_file_that_may_be_read_in_two_ways_is_refused(name: str, source: str, words: str) -> None:
    with pytest.raises(DataInvalid) as caught:
        as_json(name, source)
    assert words in str(caught.value)


def test_authors_tests_run_and_say_what_fails(tmp_path: Path, deciding_engine: str) -> None:
    folder = write(
        tmp_path,
        a_rego=POLICY,
        limits__sizes_yaml="forbidden: [huge]\n",
        b_json='{"most": 1}',
        a_test_rego=PASSING,
    )
    report = run_tests(folder)
    assert (report.passed, report.failed) == (1, 0)
    assert report.engine.startswith(deciding_engine)
    assert [test.outcome for test in report.tests] == ["passed", "skipped"]
    (folder / "b_test.rego").write_text(
        'package main\n\ntest_wrong if count(deny) == 2 with input as {"size": "huge"}\n\n'
        'test_error if upper(input.n) == "A" with input as {"n": 1}\n\n'
        'test_each["a"] := true\n\ntest_each["b"] := false\n'
    )
    result = {test.name: (test.outcome, test.problem) for test in run_tests(folder).tests}
    assert result["main.test_wrong"] == ("failed", "")
    assert result["main.test_each"] == ("failed", "b")
    assert result["main.test_error"][0] == "error"
    assert "b_test.rego:5: " in result["main.test_error"][1]


def test_a_directory_without_tests_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="no test"):
        run_tests(write(tmp_path, a_rego="package main\n"))
