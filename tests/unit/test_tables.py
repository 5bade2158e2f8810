"""Tables on a terminal: they fit, identifiers stay whole, and nothing is lost."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.terminal import output
from bondstone.terminal.display import display
from bondstone.terminal.output import OutputFormat
from bondstone.terminal.tables import layout, text_width
from bondstone.terminal.times import age, moment, moment_and_age

NOW = datetime(2026, 11, 29, 14, 2, tzinfo=UTC)
ID = "payments-platform/orders-database-eu-central-1/op/117"

words = st.lists(st.text(alphabet="abcdefgh-/@.", min_size=1, max_size=30), max_size=8).map(" ".join)
tables = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(words, min_size=n, max_size=n), min_size=1, max_size=5)
)


@pytest.fixture(autouse=True)
def restored():
    before = (display.wide, display.headers, display.utc, display.jsonpath)
    yield
    display.wide, display.headers, display.utc, display.jsonpath = before


@given(tables, st.integers(60, 120))
def test_no_line_is_wider_than_the_terminal_and_every_word_is_whole(rows, width):
    titles = [f"T{number}" for number in range(len(rows[0]))]
    head, lines = layout(titles, rows, width)
    shown = ["  ".join(line).rstrip() for line in lines]
    longest = max((len(word) for row in rows for cell in row for word in cell.split()), default=0)
    if head is not None or longest <= width - 12:
        assert max(map(text_width, shown), default=0) <= width
    text = " ".join(" ".join(line) for line in lines).split()
    for row in rows:
        for cell in row:
            if cell != "-":
                assert set(cell.split()) <= set(text), "a word is broken or lost"


def test_text_is_wrapped_beside_an_identifier_that_stays_whole():
    rows = [[ID, "running", "a sentence that is much too long for what is left of the line beside it"]]
    head, lines = layout(["OPERATION", "STATUS", "WHY"], rows, 90)
    assert head is not None
    assert lines[0][0] == ID
    assert len(lines) > 1
    assert all(len("  ".join(line)) <= 90 for line in lines)


def test_identifiers_that_do_not_fit_side_by_side_become_blocks():
    rows = [[ID, ID, "x@1.0.0"]]
    head, lines = layout(["A", "OTHER", "REVISION"], rows, 80)
    assert head is None
    assert ["  ".join(line).rstrip() for line in lines] == [ID, f"  OTHER     {ID}", "  REVISION  x@1.0.0"]


def test_wide_columns_are_shown_when_asked_for(capsys):
    output.table(["name", "digest"], [["a", "f00"]], wide=("digest",))
    assert capsys.readouterr().out == "NAME\na\n"
    display.wide = True
    output.table(["name", "digest"], [["a", "f00"]], wide=("digest",))
    assert capsys.readouterr().out == "NAME  DIGEST\na     f00\n"


def test_titles_are_left_out_when_asked(capsys):
    display.headers = False
    output.table(["name"], [["a"]])
    assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (42, "42s"), (119, "119s"), (300, "5m"), (7199, "119m"), (7200, "2h"), (172800, "2d"),
     (-3600, "in 60m")],
)  # fmt: skip
def test_a_time_in_a_table_is_its_age(seconds, words):
    assert age(NOW - timedelta(seconds=seconds), NOW) == words


def test_with_utc_times_are_whole(capsys):
    assert moment_and_age(NOW).endswith(" ago)") or "(in " in moment_and_age(NOW)
    display.utc = True
    assert (moment(NOW), moment_and_age(NOW), age(NOW)) == ("2026-11-29 14:02:00Z",) * 3
    output.table(["at"], [[NOW]])
    assert "2026-11-29 14:02:00Z" in capsys.readouterr().out


def test_a_local_time_names_its_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert moment(NOW) == "2026-11-29 15:02:00 CET"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_names_are_what_other_commands_take(capsys):
    rows = [{"id": "a/b", "name": "b"}, {"name": "cve"}, {"promise": "p", "version": "1.0.0", "digest": "f"}]
    output.emit(rows, OutputFormat.NAME)
    assert capsys.readouterr().out == "a/b\ncve\np@1.0.0\n"


@pytest.mark.parametrize("path", ["$[?@.phase=='ready'].id", "{[?@.phase=='ready'].id}"])
def test_a_jsonpath_prints_what_it_finds_a_line_each(capsys, path):
    display.jsonpath = path
    output.emit([{"id": "a/b", "phase": "ready"}, {"id": "c/d", "phase": "failed"}], OutputFormat.JSONPATH)
    assert capsys.readouterr().out == "a/b\n"


def test_a_jsonpath_that_is_none_is_refused_in_words():
    with pytest.raises(Exception, match="is not a JSONPath"):
        list(
            output.query(
                {},
                "$[",
            )
        )
