"""YAML as it is read: bounded, without surprises, with the place of everything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promise_samples import POSTGRES

from bondstone.base.errors import PromiseInvalid
from bondstone.documents.yaml_places import MAX_BYTES, read
from bondstone.promise.load import parse_promise


def _first(text: str | bytes) -> str:
    document = read(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return str(document.problems[0])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        (b"\xff\xfe\x00", "f.yaml: the file is not UTF-8 text"),
        (b"a" * (MAX_BYTES + 1), "f.yaml: the file is larger than 1024 KiB"),
        (BOMB, "f.yaml:1:1: the file holds more than 20000 values, aliases expanded"),
        ("a: [" + "1," * 340_000 + "]", "f.yaml:1:1: the file holds more than 20000 values, aliases expanded"),
        ("{" + "a," * 500_000, "f.yaml:1:1: the file holds more than 20000 values, aliases expanded"),
        ("- &a x\n" + "- *a\n" * 200_000, "f.yaml:1:1: the file holds more than 20000 values, aliases expanded"),
        ("[" * 500_000, "f.yaml: the file is nested deeper than 40"),
        ("[" * 60 + "]" * 60, "f.yaml:1:1: the file is nested deeper than 40"),
        ("[" * 5000 + "]" * 5000, "f.yaml: the file is nested deeper than 40"),
        ("a: &a [*a]", "f.yaml:1:1: the file is nested deeper than 40"),
        ("a: 1\na: 2", "f.yaml:2:1: 'a' is there more than once (the first is in line 1)"),
        ("b: &b {x: 1}\na:\n  <<: *b", "f.yaml:3:3: merge keys (<<) are not supported (write the keys out)"),
        ("? [a]\n: 1", "f.yaml:1:3: a key must be text"),
        (
            "a: !!python/object:os.system x",
            "f.yaml:1:4: the tag 'tag:yaml.org,2002:python/object:os.system' is not read",
        ),
        ("a: !!binary aGk=", "f.yaml:1:4: the tag 'tag:yaml.org,2002:binary' is not read"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_document_is_refused(text: str | bytes, says: str) -> None:
    assert _first(text).startswith(says)


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: yes\nb: 012\nc: 0x1f\nd: 1_000\ne: 2024-01-01\nf: 1.5e3\ng: true\nh: ~\ni: '3'\nj: 1.4.0"
    assert read(text.encode(), "f").data == {
        "a": "yes", "b": 12, "c": 31, "d": 1000, "e": "2024-01-01",
        "f": 1500.0, "g": True, "h": None, "i": "3", "j": "1.4.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "offset", "column"),
    [
        ("a: xyz", 1, 5),
        ("a: 'xyz'", 1, 6),
        ('a: "xyz"', 1, 6),
        ('a: "x\\nyz"', 1, 4),
        ("a: 'x''yz'", 1, 4),
        ("a: |\n  xyz", 1, 4),
        ("a: x\n  yz", 1, 4),
    ],
)
def test_a_place_inside_text_is_told_only_where_it_can_be(text: str, offset: int, column: int) -> None:
    document = read(text.encode(), "f")
    assert document.inside(("a",), offset, "here").column == column


def test_a_place_that_is_not_in_the_file_is_the_nearest_above() -> None:
    document = read(b"a:\n  b: {c: 1}\n", "f")
    problem = document.problem(("a", "b", "x", "y"), "here")
    assert (problem.line, problem.column) == (2, 3)


def test_an_anchor_may_be_named_again() -> None:
    assert read(b"a: &x 1\nb: *x\nc: &x 2\nd: *x\n", "f").data == {"a": 1, "b": 1, "c": 2, "d": 2}


@given(st.text(max_size=200) | st.text("ab:-[]{}#&*!|>'\"%@`,?\n \t", max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    document = read(text.encode("utf-8", "surrogatepass"), "f")
    assert document.problems or document.values


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_to_a_promise_gives_anything_but_problems_with_places(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(POSTGRES)))
    length = data.draw(st.integers(0, 40))
    put = data.draw(st.text("ab:-[]{}#&*'\"\n \t${}1.", max_size=6))
    text = POSTGRES[:start] + put + POSTGRES[start + length :]
    try:
        parse_promise(text.encode())
    except PromiseInvalid as error:
        assert error.problems  # noqa: PT017 - most damage is refused, some is harmless
        assert all(problem.file == "promise.yaml" for problem in error.problems)  # noqa: PT017
