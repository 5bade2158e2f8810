"""Cursors go on exactly where a page ended, and belong to one list."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.api.pages import Cursors, cut
from bondstone.base.errors import CursorInvalid


@given(count=st.integers(0, 40), limit=st.integers(1, 12))
def test_pages_put_together_are_the_list(count, limit):
    cursors = Cursors(list="numbers")
    read, cursor = [], ""
    while True:
        after = cursors.decode(cursor)
        rest = (number for number in range(count) if after is None or number > after)
        page, following = cut(rest, limit, cursors, lambda number: number)
        read += page
        assert len(page) <= limit
        if following is None:
            break
        cursor = following
    assert read == list(range(count))


def test_a_cursor_of_another_list_order_or_filter_is_refused():
    cursor = Cursors(list="services", sort="id", team="").encode(["a", "a"])
    for other in (
        {"list": "campaigns", "sort": "id", "team": ""},
        {"list": "services", "sort": "-id", "team": ""},
    ):
        with pytest.raises(CursorInvalid, match="another list"):
            Cursors(**other).decode(cursor)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_else_is_sent_as_a_cursor_is_refused_in_words(text):
    if text:
        with pytest.raises(CursorInvalid):
            Cursors(list="services").decode(text)


def test_deeply_nested_json_is_no_cursor():
    nested = base64.urlsafe_b64encode(("[" * 1400).encode()).decode()
    with pytest.raises(CursorInvalid):
        Cursors(list="services").decode(nested)
    assert json.loads("[]") == []
