"""Label selectors, as kubectl has them: `tier=data,env!=prod,env in (dev, test),owner,!legacy`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Matches = Callable[[Mapping[str, str]], bool]

_TERM: Final = re.compile(
    r"""(?P<not>!)?(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)
    (?:\s*(?P<op>!=|==?)\s*(?P<value>[^\s,()=!]*)|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?""",
    re.VERBOSE,
)


def selector(texts: Sequence[str]) -> Matches:
    """What says whether labels are selected; every term of every text must hold.

    Args:
        texts: Each a list of terms with commas between them: `key=value`, `key!=value`, `key in (a, b)`,
            `key notin (a, b)`, `key` for any value, `!key` for none.

    Raises:
        InvalidInput: that is not a selector.
    """
    terms = [_term(term, text) for text in texts for term in _split(text)]
    return lambda labels: all(term(labels) for term in terms)


def equalities(texts: Sequence[str]) -> dict[str, str]:
    """The terms `key=value` among them: what a server can look up by itself.

    Args:
        texts: As for `selector`.
    """
    matches = (_TERM.fullmatch(term) for text in texts for term in _split(text))
    return {it["key"]: it["value"] for it in matches if it and not it["not"] and it["op"] in {"=", "=="}}


def _split(text: str) -> list[str]:
    """Terms, parted by commas that are in no parentheses."""
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _term(term: str, text: str) -> Matches:
    match = _TERM.fullmatch(term)
    if match is None or (match["not"] and (match["op"] or match["set"])):
        from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - failures only

        raise InvalidInput(
            f"{term!r} is not a label selector",
            where=f"-l {text[:200]}",
            hint="write key=value, key!=value, key in (a, b), key or !key, with commas between them",
        )
    key, value = match["key"], match["value"]
    if match["set"]:
        values = {each.strip() for each in match["values"].split(",")}
        wanted = match["set"] == "in"
        return lambda labels: (labels.get(key) in values) is wanted
    match match["op"]:
        case "!=":
            return lambda labels: labels.get(key) != value
        case None:
            negated = bool(match["not"])
            return lambda labels: (key in labels) is not negated
    return lambda labels: labels.get(key) == value
