"""What is refused of a policy before it may decide anything, and where the refusal points."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.base.errors import NotFound, PolicyInvalid
from bondstone.policy import Module, check_syntax, load_modules, modules_digest
from bondstone.policy.tokens import statements
from tests.unit.rego_engines import ENGINES, deciding


@pytest.fixture(scope="module", autouse=True, params=ENGINES)
def deciding_engine(request):
    with deciding(request.param) as name:
        yield name


HEAD = "package main\n\nimport rego.v1\n\n"


def problems(source: str) -> list[str]:
    return [str(problem) for problem in check_syntax([Module("p/a.rego", source)])]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ('package main\ndeny[msg] { msg := "x" }\n', 2, "`opa fmt --write --v0-v1 p/a.rego` converts the file"),
        ("package main\nallow {\n  true\n}\nelse { false }\n", 2, "syntax from before Rego v1"),
        (HEAD + 'warn_tags[msg] if { msg := "x" }\n', 5, "write `warn_tags contains msg if"),
        (HEAD + "production { input.x }\n", 5, "`if` keyword is required"),
        (HEAD + 'helper(x) = "a" { x }\n', 5, "`if` keyword is required"),
        (HEAD + "deny contains msg if { mesg := 1 }\n", 5, "var msg is unsafe"),
        (HEAD + 'deny contains "x" if { inputs.a == 1 }\n', 5, "inputs"),
        (HEAD + 'deny contains "x" if not prodction\n', 5, "prodction"),
        (HEAD + 'deny contains "x" if { http.send({}) }\n', 5, "http.send may not be used"),
        (HEAD + "deny contains msg if { msg := opa.runtime().env }\n", 5, "environment"),
        (HEAD + 'deny contains "x" if { rand.intn("a", 2) == 1 }\n', 5, "another number each time"),
        (HEAD + 'deny contains "x" if { a.b.nosuch(1) }\n', 5, "undefined function a.b.nosuch"),
        (HEAD + 'deny contains "x" if { nosuch(1) }\n', 5, "undefined function nosuch"),
        (HEAD + '# é ü\n\ndeny contains "é" if { some in input }\n', 7, "unexpected"),
        (HEAD + 'p if q\nq if p\ndeny contains "a" if p\n', 5, "data.main.p is recursive"),
        ("deny contains 1 if true\n", 1, "no package"),
        ("", 1, "no package"),
    ],
)
def test_a_broken_policy_is_refused_at_its_line(source: str, line: int, words: str) -> None:
    result = problems(source)
    assert result
    assert result[0].startswith(f"p/a.rego:{line}:")
    assert words in result[0]


def test_an_unclosed_bracket_is_refused() -> None:
    assert problems(HEAD + "deny contains msg if { msg := \n")[0].startswith("p/a.rego:")


FINE = [
    'default allow := false\nallow if { input.a == "x" }\nelse if { input.b }\n',
    "sizes := {\n\t\"small\": 1,\n\t'big': 2,\n}\n".replace("'", '"'),
    'f(x, y) := x + y\ng(_) if true\ndeny contains "x" if { f(1, 2) == 3; g(1) }\n',
    'import input.service as s\ndeny contains "x" if s.team == "y"\n',
    'deny contains msg if {\n  some i\n  input.changes[i].action == "delete"\n  msg := "{ not a brace"\n}\n',
    'deny contains msg if {\n  some k, v in input.tags\n  v == true\n  msg := `say "hi"` # deny[msg] {\n}\n',
    'deny contains "x" if {\n  every c in input.changes { c.action != "delete" }\n}\n',
    'names contains n if some n in ["a"]\nby_name[n] := c if { some n in names; c := count(n) }\n',
    'warn contains {"msg": m} if { [m, _] := ["a", "b"]; count([c | some c in input.changes; c.a]) > 1 }\n',
    'deny contains msg if {\n  name := "a"\n  some r in input.x[name]\n  msg := r.address\n}\n',
    "tags := [v | some k, v in input.tags; k]\n",
    'deny contains msg if msg := sprintf("%v", [object.get(\n  input,\n  "a",\n  null,\n)])\n',
    (
        "deny_run_as_root contains msg if {\n  c := input.containers[i]\n"
        "  msg := concat(c.name, [json.marshal(i)])\n}\n"
    ),
]


@pytest.mark.parametrize("source", FINE)
def test_rego_v1_in_all_its_dress_is_taken(source: str) -> None:
    assert problems(HEAD + source) == []


def test_modules_of_one_package_share_their_names() -> None:
    modules = [
        Module("a.rego", HEAD + 'production if input.env == "prod"\n'),
        Module("b.rego", HEAD + 'deny contains "x" if production\n'),
    ]
    assert check_syntax(modules) == []
    assert check_syntax(modules[1:])


@settings(max_examples=200)
@given(st.text(alphabet=st.sampled_from(list('{}[]()"`\\#\n .:=,|ifdenycontains_€1')), max_size=80))
def test_any_text_can_be_looked_at(source: str) -> None:
    for statement in statements(source):
        assert all(token.line >= 1 and token.column >= 1 for token in statement)


def test_digests_tell_contents_apart_and_nothing_else() -> None:
    a, b = Module("a.rego", "package a"), Module("b.rego", "package b")
    assert modules_digest([a, b]) == modules_digest([b, a])
    assert modules_digest([a]) != modules_digest([Module("a.rego", "package a", "promise")])
    assert modules_digest([a]) != modules_digest([Module("c.rego", "package a")])


def test_a_directory_is_read_in_order_without_its_authors_tests(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("z.rego", "sub/a.rego", "z_test.rego", "notes.txt"):
        (tmp_path / name).write_text("package x\n", encoding="utf-8")
    assert [module.name for module in load_modules(tmp_path)] == ["sub/a.rego", "z.rego"]


def test_what_cannot_be_a_policy_file_is_refused(tmp_path) -> None:
    with pytest.raises(NotFound):
        load_modules(tmp_path / "nowhere")
    (tmp_path / "link.rego").symlink_to("/etc/hostname")
    with pytest.raises(PolicyInvalid, match="regular file"):
        load_modules(tmp_path)
    (tmp_path / "link.rego").unlink()
    (tmp_path / "big.rego").write_text("#" * 300_000, encoding="utf-8")
    with pytest.raises(PolicyInvalid, match="bytes"):
        load_modules(tmp_path)
    (tmp_path / "big.rego").write_bytes(b"package x # \xff")
    with pytest.raises(PolicyInvalid, match="UTF-8"):
        load_modules(tmp_path)
