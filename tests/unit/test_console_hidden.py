"""Pages spell out what turns text around or cannot be seen; what stands in a field goes back as it was."""

import html
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import bondstone.console
from bondstone.base.printable import is_plain
from bondstone.console.calendar import Period, Row, calendar
from bondstone.console.forms import fields
from bondstone.console.rendering import environment

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TURNED = "pay\u202etnemyap\u200b\x1b[2J"
TEMPLATES = sorted((Path(bondstone.console.__file__).parent / "templates").glob("*.html"))


def rendered(template: str, **values: object) -> str:
    return environment().from_string(template).render(**values)


def test_what_a_template_prints_is_spelt_out_and_escaped():
    assert rendered("<p>{{ x }}</p>", x=f"<b>{TURNED}") == "<p>&lt;b&gt;pay\\u202etnemyap\\u200b\\x1b[2J</p>"
    assert rendered("{{ x }}", x=ValueError(TURNED)) == "pay\\u202etnemyap\\u200b\\x1b[2J"
    assert rendered("{{ x | markdown }}", x=f"*{TURNED}*") == "<p><em>pay\\u202etnemyap\\u200b\\x1b[2J</em></p>\n"
    assert rendered("{{ x | pretty }}", x={"a": TURNED}).isascii()


@given(st.text())
def test_no_text_of_others_has_a_hidden_character_on_a_page(text):
    assert is_plain(rendered("{{ x }}", x=text))


@given(st.text())
def test_the_value_of_a_field_goes_back_as_it_is(text):
    field = rendered('<input value="{{ x | typed }}">', x=text)
    assert html.unescape(field.removeprefix('<input value="').removesuffix('">')) == html.unescape(
        str(Markup.escape(text))
    )


def test_a_field_of_a_form_keeps_its_value_and_says_what_cannot_be_seen_in_it():
    [field] = fields({"properties": {"note": {"type": "string"}}}, {"note": TURNED})
    shown = rendered('{% from "macros.html" import field %}{{ field(item) }}', item=field)
    assert f'value="{TURNED}"' in shown
    assert "characters that cannot be seen: <code>pay\\u202etnemyap\\u200b\\x1b[2J</code>" in shown
    [plain] = fields({"properties": {"note": {"type": "string"}}}, {"note": "naïve"})
    assert "cannot be seen" not in rendered('{% from "macros.html" import field %}{{ field(item) }}', item=plain)


def test_drawings_spell_out_names_and_reasons():
    svg = calendar([Row("freeze", "audit", (Period(NOON, None, TURNED),))], NOON)
    assert is_plain(svg)
    assert "pay\\u202etnemyap" in svg


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_value_that_a_form_sends_back_is_marked_as_typed(path):
    source = path.read_text("utf-8")
    typed = re.findall(r'<input(?![^>]*type="hidden")[^>]* value="\{\{ ([^}]*) \}\}"', source)
    typed += re.findall(r"<textarea[^>]*>\{\{ ([^}]*) \}\}", source)
    numbers = {"campaign.max_concurrent or 1", "earliest", "wanted.last.isoformat()", "since", "until"}
    assert [value for value in typed if not value.endswith("| typed") and value not in numbers] == []
