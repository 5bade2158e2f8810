"""JSON that is handed to tools which read YAML."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from bondstone.documents.json_in_yaml import json_in_yaml

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(st.recursive(TEXTS | st.integers() | st.none(), lambda each: st.lists(each) | st.dictionaries(TEXTS, each)))
def test_what_json_says_yaml_says_too(value):
    written = json_in_yaml(value)
    assert yaml.safe_load(written) == value
    assert written.isprintable()


def test_no_character_is_a_pair_of_surrogates():
    assert json_in_yaml({"a": "🎉\x85\ufeff"}) == '{"a": "🎉\\u0085\\ufeff"}'
