"""Names that fit any value and phrases that must be read twice are refused."""

from __future__ import annotations

import pytest

from tools import check_words


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("found = 1", "found"),
        ("def f(given): ...", "given"),
        ("def f(*, asked=None): ...", "asked"),
        ("def said(): ...", "said"),
        ("class Answer: ...", "Answer"),
        ("for seen in (): ...", "seen"),
        ("x = [there for there in ()]", "there"),
        ("if (found := 1): ...", "found"),
        ("self._asked = 1", "_asked"),
        ("match 1:\n    case int() as found: ...", "found"),
    ],
)
def test_a_name_that_says_nothing_is_refused_wherever_it_is_bound(source, name):
    (problem,) = check_words.problems("bondstone/a.py", source)
    assert problem.startswith("bondstone/a.py:")
    assert f"`{name}` says nothing" in problem


@pytest.mark.parametrize("source", ["from hypothesis import given", "f(found=1)", "x = y.found", "'found'"])
def test_what_others_named_may_be_used(source):
    assert list(check_words.problems("bondstone/a.py", source)) == []


def test_a_field_of_a_recorded_history_keeps_its_name():
    source = "class Reply:\n    said: int"
    assert list(check_words.problems("bondstone/model/campaign/run.py", source)) == []
    assert list(check_words.problems("bondstone/model/campaign/other.py", source)) != []


def test_a_phrase_is_refused_also_when_it_is_broken_over_two_lines():
    assert list(check_words.problems("docs/a.md", "The rest\ngoes\non.\n")) == [
        "docs/a.md:2: 'goes on'; docs/style.md has other words"
    ]
    assert len(list(check_words.problems("bondstone/a.py", 'x = "needs somebody\'s word"'))) == 1
    assert list(check_words.problems("tests/unit/a.py", 'x = "goes on"')) == []
