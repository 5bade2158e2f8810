r"""Which regular expressions mean the same to the platform and to JavaScript.

The platform takes more than JavaScript does with its flag `u`, which forms set: flags inside, possessive
repetition, other anchors, `\-` and `\@` outside of a class, `\p{Greek}`. A pattern that JavaScript does not
compile breaks a whole form; one that it reads otherwise refuses valid values.
"""

from __future__ import annotations

import re
from typing import Final

_CATEGORY: Final = "L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfo]?"
_PROPERTY: Final = rf"[pP]\{{(?: {_CATEGORY} | Script=[A-Z][a-z]+(?:_[A-Z][a-z]+)* )\}}"
"""Properties under the one name that both know."""
_ESCAPED: Final = r"[\^$\\.*+?()\[\]{}|/]"
_TOKEN: Final = re.compile(
    rf"""
    \\(?: [dDwWsSbBtnrfv0] | x[0-9A-Fa-f]{{2}} | u[0-9A-Fa-f]{{4}} | {_PROPERTY} | {_ESCAPED} )
  | \((?: (?!\?) | \?(?: [:=!] | <[=!] | <[A-Za-z_]\w*> ) )
  | [*+?] \??
  | \{{ \d+ (?: ,\d* )? \}} \??
  | [^\\(*+?{{}}\[\]]
    """,
    re.VERBOSE,
)
_IN_CLASS: Final = re.compile(
    rf"""
    \\(?: [dDwWsSbtnrfv0] | x[0-9A-Fa-f]{{2}} | u[0-9A-Fa-f]{{4}} | {_PROPERTY} | {_ESCAPED} | - )
  | (?! && | -- | ~~ ) [^\\\[\]]
    """,
    re.VERBOSE,
)
_REPEATS: Final = ("*", "+", "?", "{")
_PLACES: Final = frozenset({"^", "$", r"\b", r"\B"})
"""What JavaScript does not repeat."""


def is_portable(pattern: str) -> bool:
    """Whether both compile a pattern, and read it alike.

    Args:
        pattern: As the schema has it.
    """
    position, repeated = 0, False
    while position < len(pattern):
        if pattern[position] == "[":
            position = _after_class(pattern, position)
            if position < 0:
                return False
            repeated = False
            continue
        token = _TOKEN.match(pattern, position)
        if token is None:
            return False
        repeats = token[0].startswith(_REPEATS)
        if repeats and repeated:  # `a++`: possessive here, a mistake there
            return False
        repeated = repeats or token[0] in _PLACES
        position = token.end()
    return True


def _after_class(pattern: str, position: int) -> int:
    """Where a class of characters ends; -1 where it is not one to both."""
    position += 1
    if pattern.startswith("^", position):
        position += 1
    while not pattern.startswith("]", position):
        token = _IN_CLASS.match(pattern, position)
        if token is None:
            return -1
        position = token.end()
    return position + 1
