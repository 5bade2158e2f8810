"""What the options of a command line mean as inputs."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.errors import InvalidInput
from bondstone.cli import inputs
from bondstone.cli.app import main


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3.5", 3.5),
        ("true", True),
        ("null", None),
        ("", ""),
        ("yes", "yes"),
        ("small", "small"),
        ("1.4.0", "1.4.0"),
        ("2026-01-31", "2026-01-31"),
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        ("a: b", "a: b"),
        ("- x", "- x"),
        ("a # b", "a # b"),
        ("*x", "*x"),
        ("[1, b]", [1, "b"]),
        ('{"a": [true]}', {"a": [True]}),
        ('"3"', "3"),
        ("'x y'", "x y"),
    ],
)
def test_a_value_is_read_as_people_mean_it(text, value):
    read = inputs.scalar(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["[1, 2", "{a", '"x'])
def test_a_value_that_begins_as_structure_must_be_one(text):
    with pytest.raises(InvalidInput, match="not valid YAML"):
        inputs.scalar(text)


def test_dotted_paths_nest_and_later_values_win():
    tree = inputs.gather(values=["a.b=1", "a.c=2", "a.b=3", r"labels.x\.y=z"], strings=["v=1.10"])
    assert tree == {"a": {"b": 3, "c": 2}, "labels": {"x.y": "z"}, "v": "1.10"}


def test_a_path_through_a_value_is_refused_by_name():
    with pytest.raises(InvalidInput, match=r"--set a\.b: a already has a value"):
        inputs.gather(values=["a=1", "a.b=2"])


@pytest.mark.parametrize("text", ["novalue", "=x"])
def test_what_is_not_a_pair_is_refused(text):
    with pytest.raises(InvalidInput, match="is not KEY=VALUE"):
        inputs.gather(values=[text])


@pytest.mark.parametrize("path", [".a=1", "a..b=1", "a.=1"])
def test_an_empty_name_in_a_path_is_refused(path):
    with pytest.raises(InvalidInput, match="empty name"):
        inputs.gather(values=[path])


def test_files_merge_and_options_win_over_them(tmp_path):
    base, over = tmp_path / "base.yaml", tmp_path / "over.json"
    base.write_text("net: {cidr: 10.0.0.0/8, dns: true}\nsize: small\nday: 2026-01-31\n")
    over.write_text('{"net": {"dns": false}, "size": "large"}')
    tree = inputs.gather(files=[str(base), str(over)], values=["size=medium"])
    assert tree == {"net": {"cidr": "10.0.0.0/8", "dns": False}, "size": "medium", "day": "2026-01-31"}


def test_a_broken_file_names_its_line(tmp_path):
    file = tmp_path / "inputs.yaml"
    file.write_text("size: small\nsize: large\n")
    with pytest.raises(InvalidInput) as caught:
        inputs.gather(files=[str(file)])
    assert [problem.line for problem in caught.value.problems] == [2]


def test_a_file_that_is_no_mapping_or_not_there_is_refused(tmp_path):
    file = tmp_path / "inputs.yaml"
    file.write_text("- a\n")
    with pytest.raises(InvalidInput, match="mapping"):
        inputs.gather(files=[str(file)])
    with pytest.raises(InvalidInput, match="No such file"):
        inputs.gather(files=[str(tmp_path / "none")])


def test_set_file_takes_the_text_as_it_stands(tmp_path):
    (tmp_path / "key.pem").write_text("line\n3\n")
    assert inputs.gather(from_files=[f"tls.key={tmp_path / 'key.pem'}"]) == {"tls": {"key": "line\n3\n"}}


@pytest.mark.parametrize(
    ("paths", "typed", "tree"),
    [
        (["password"], "hunter2\n", {"password": "hunter2"}),
        (["password"], "two\nlines\n", {"password": "two\nlines"}),
        (["db.password", "token"], "a\n007\n", {"db": {"password": "a"}, "token": "007"}),
    ],
)
def test_secrets_come_from_standard_input(monkeypatch, paths, typed, tree):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert inputs.gather(secrets=paths) == tree


@pytest.mark.parametrize("typed", ["", "one\n", "one\ntwo\nthree\n"])
def test_too_few_or_too_many_lines_for_secrets_are_refused_without_repeating_them(monkeypatch, typed):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    with pytest.raises(InvalidInput) as caught:
        inputs.gather(secrets=["a", "b"])
    assert "one" not in str(caught.value).replace("one line", "")


@pytest.mark.parametrize("given_", ["password=hunter2", "password:hunter2", "password hunter2", "=hunter2"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(monkeypatch, given_):
    monkeypatch.setattr(sys, "stdin", io.StringIO("something"))
    with pytest.raises(InvalidInput) as caught:
        inputs.gather(secrets=[given_])
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_what_follows_a_secret_option_is_not_repeated(capsys):
    arguments = ["service", "request", "queue", "payments/x", "--secret", "password", "hunter2"]
    assert main(arguments) == 2
    assert "hunter2" not in "".join(capsys.readouterr())


def test_labels_are_set_and_removed():
    assert inputs.label_changes(["tier=data", "env-", "note=a=b"]) == ({"tier": "data", "note": "a=b"}, ["env"])


@pytest.mark.parametrize("given_", [["tier"], ["-"], ["tier=1", "tier-"]])
def test_label_changes_that_say_nothing_or_contradict_are_refused(given_):
    with pytest.raises(InvalidInput):
        inputs.label_changes(given_)


@given(st.lists(st.from_regex(r"[a-z][a-z.]{0,5}", fullmatch=True), min_size=1, max_size=4), st.integers())
def test_any_names_survive_escaping(names, value):
    path = ".".join(name.replace(".", "\\.") for name in names)
    tree = inputs.gather(values=[f"{path}={value}"])
    for name in names:
        tree = tree[name]
    assert tree == value


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        value = inputs.scalar(text)
    except InvalidInput:
        return
    assert isinstance(value, str | int | float | bool | list | dict) or value is None
