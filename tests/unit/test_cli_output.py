"""What `bond` prints: for people, for programs, and when something goes wrong."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bondstone.base.errors import ErrorInfo, Problem
from bondstone.model.service import ServiceId
from bondstone.terminal import output
from bondstone.terminal.output import OutputFormat

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Thing:
    name: str
    at: datetime


def test_programs_get_times_in_utc_with_milliseconds_whatever_the_zone():
    local = NOON.astimezone(timezone(timedelta(hours=5)))
    assert output.plain(Thing("a", local)) == {"name": "a", "at": "2026-01-02T12:00:00.000Z"}


def test_models_enums_durations_and_sets_become_what_json_holds():
    value = {"id": ServiceId(team="t", name="n"), "c": Colour.RED, "d": timedelta(minutes=1), "s": {"b", "a"}}
    assert output.plain(value) == {"id": {"team": "t", "name": "n"}, "c": "red", "d": 60.0, "s": ["a", "b"]}


def test_json_and_yaml_say_the_same(capsys):
    value = {"text": "two\nlines: here", "none": None, "list": [1, {"x": True}], "z": 1, "a": "é"}
    output.emit(value, OutputFormat.JSON)
    as_json = json.loads(capsys.readouterr().out)
    output.emit(value, OutputFormat.YAML)
    as_yaml = capsys.readouterr().out
    assert YAML(typ="safe").load(as_yaml) == as_json == value
    assert as_yaml.index("z:") < as_yaml.index("a:"), "fields keep their order"


def test_a_piped_table_holds_every_cell_whole_on_one_line(capsys):
    wide = "x" * 500
    output.table(["name", "what"], [["a", wide], ["日本", "line\nbreak"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "WHAT"]
    assert lines[1] == f"a     {wide}"
    assert lines[2] == "日本  line break"


def test_an_empty_table_says_so_beside_the_result(capsys):
    output.table(["name"], [], empty="no services yet")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "no services yet\n"


def test_control_characters_of_other_people_do_not_reach_the_terminal(capsys):
    output.table(["label"], [["\x1b[31mred\x07"]])
    assert "\x1b" not in capsys.readouterr().out
    assert "\x1b" not in output.error_text(ErrorInfo(code="X", message="\x1b]0;title\x07"))


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_a_piped_table_has_one_line_a_row_whatever_the_cells(rows):
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        output.table(["a", "b"], rows)
    assert stream.getvalue().count("\n") == len(rows) + 1


def test_an_error_says_what_where_each_problem_and_what_next():
    info = ErrorInfo(
        code="PROMISE_INVALID",
        message="the promise is not valid",
        where="promises/x",
        hint="mend it",
        problems=(Problem(message="no such field", file="promise.yaml", line=3, column=5),),
    )
    assert output.error_text(info).splitlines() == [
        "error[PROMISE_INVALID]: the promise is not valid",
        "  where: promises/x",
        "  - promise.yaml:3:5: no such field",
        "  hint: mend it",
    ]


def test_an_error_for_programs_is_one_object(capsys):
    output.print_error(ErrorInfo(code="NOT_FOUND", message="no", where="a/b", hint="look"), OutputFormat.JSON)
    assert json.loads(capsys.readouterr().err) == {
        "error": {"code": "NOT_FOUND", "message": "no", "where": "a/b", "hint": "look"}
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x", "-o", "json"], OutputFormat.JSON),
        (["x", "-ojson"], OutputFormat.JSON),
        (["--output=yaml", "x"], OutputFormat.YAML),
        (["--output", "json"], OutputFormat.JSON),
        (["x", "-o"], OutputFormat.TABLE),
        (["x", "-o", "nonsense"], OutputFormat.TABLE),
        (["x", "--", "-o", "json"], OutputFormat.TABLE),
    ],
)
def test_the_format_of_errors_is_known_before_anything_is_parsed(arguments, expected):
    assert output.requested_format(arguments) is expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.44, "2.4s"), (59.94, "59.9s"), (59.99, "1m0s"), (190, "3m10s"), (3599.9, "1h0m"), (187200, "2d4h")],
)
def test_durations_are_told_in_their_two_largest_units(seconds, text):
    assert output.duration(timedelta(seconds=seconds)) == text
