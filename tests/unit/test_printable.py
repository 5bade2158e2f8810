"""Hidden characters are spelt out where people read, and change nothing where programs do."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.errors import ErrorInfo, Problem
from bondstone.base.printable import is_plain, visible, visible_json, without_hidden, without_hidden_start
from bondstone.terminal import output
from bondstone.terminal.output import OutputFormat

HIDDEN = (
    "\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u061c", "\u200e", "\u202a", "\u202e", "\u2066", "\u2069", "\u200b",
    "\u2060", "\ufeff", "\u00ad", "\u115f", "\u3164", "\u2800", "\u2028", "\U000e0041",
)  # fmt: skip
HOSTILE = "pay\u202etnemyap\x1b[2J\x9b31m\u200b"


@pytest.mark.parametrize("char", HIDDEN)
def test_a_hidden_character_is_spelt_out(char: str) -> None:
    shown = visible(f"a{char}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert f"{ord(char):x}" in shown
    assert without_hidden(f"a{char}b") == "ab"


@pytest.mark.parametrize(
    "text", ["naïve", "日本語", "👩\u200d💻", "\u0645\u06cc\u200c\u062e\u0648", "עברית", "a\tb\nc", "❤\ufe0f"]
)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text
    assert is_plain(text)


def test_every_control_and_every_format_character_but_joiners_is_hidden() -> None:
    joiners = {"\u200c", "\u200d"}
    marks = {char for char in map(chr, range(0x110000)) if unicodedata.category(char) == "Cf"}
    # Marks that are seen: numbers and verses of Arabic, Syriac and Kaithi, and of hieroglyphs and shorthand.
    observed = {char for char in marks if is_plain(char)} - joiners
    assert all(ord(char) in {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD,
                             *range(0x13430, 0x13456), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)}
               for char in observed)  # fmt: skip
    controls = {char for char in map(chr, range(0xA0)) if unicodedata.category(char) == "Cc"} - {"\n", "\t"}
    assert not any(map(is_plain, controls))


@given(st.text(max_size=50))
def test_json_says_the_same_and_hides_nothing(text: str) -> None:
    shown = visible_json(json.dumps({"x": text}, ensure_ascii=False))
    assert json.loads(shown) == {"x": text}
    assert is_plain(shown)


def test_a_spreadsheet_begins_where_something_is_seen() -> None:
    assert without_hidden_start("\ufeff \u200d\ufe0f=1") == "=1"
    assert without_hidden_start("\u200b") == ""
    assert without_hidden_start("plain") == "plain"


def test_tables_messages_and_errors_spell_out_what_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["NAME"], [[HOSTILE], [{"key": HOSTILE}], [[HOSTILE]]])
    output.say(HOSTILE)
    output.note(HOSTILE)
    problem = Problem(message=HOSTILE, hint=HOSTILE)
    error = ErrorInfo(code="REFUSED", message=HOSTILE, where=HOSTILE, hint=HOSTILE, problems=(problem,))
    for form in (OutputFormat.TABLE, OutputFormat.JSON, OutputFormat.YAML):
        output.print_error(error, form)
    for form in (OutputFormat.JSON, OutputFormat.YAML):
        output.emit({"name": HOSTILE}, form)
    output.emit_lines([{"name": HOSTILE}])
    text = "".join(capsys.readouterr())
    assert text.count("202e") >= 12
    assert is_plain(text)


def test_a_name_for_a_program_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"name": HOSTILE}, OutputFormat.NAME)
    assert capsys.readouterr().out == f"{HOSTILE}\n"
