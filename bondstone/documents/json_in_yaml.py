"""JSON that every reader of YAML takes: it is what tools get that read their files as YAML."""

from __future__ import annotations

import json
from typing import Any


def json_in_yaml(value: Any) -> str:
    """A value as JSON on one line that is YAML too.

    JSON may spell a character beyond U+FFFF as a pair of surrogates, which YAML refuses. So characters stand as
    they are; those that YAML does not take, or takes for the end of a line, are spelt as YAML spells them.

    Args:
        value: What JSON can say.
    """
    written = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(char) for char in written)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - YAML's two lengths
