"""Label selectors as kubectl has them."""

import pytest

from bondstone.base.errors import InvalidInput
from bondstone.client.selectors import equalities, selector

LABELS = {"tier": "data", "env": "dev", "owner": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("tier=data", True),
        ("tier==data", True),
        ("tier=web", False),
        ("tier!=web", True),
        ("missing!=x", True),
        ("env in (dev, test)", True),
        ("env notin (dev, test)", False),
        ("missing notin (x)", True),
        ("owner", True),
        ("!owner", False),
        ("!missing", True),
        ("tier=data,env in (dev,test),!missing", True),
        ("tier=data,env=prod", False),
        ("owner=", True),
        ("", True),
    ],
)
def test_a_selector_selects(text, matches):
    assert selector([text])(LABELS) is matches


def test_every_one_of_several_must_hold():
    assert selector(["tier=data", "env=dev"])(LABELS)
    assert not selector(["tier=data", "env=prod"])(LABELS)


def test_what_a_server_can_look_up_is_told_apart():
    assert equalities(["tier=data,env!=prod", "a in (b)", "x==y,!z,w"]) == {"tier": "data", "x": "y"}


@pytest.mark.parametrize("text", ["=x", "a b", "a in b", "!a=b", "a=b=c"])
def test_what_is_none_is_refused_in_words(text):
    with pytest.raises(InvalidInput, match="is not a label selector"):
        selector([text])
