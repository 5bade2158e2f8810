"""Rego's `sprintf`: Go's `fmt.Sprintf` with the operands as OPA hands them over.

OPA passes integers, floats and texts as they are and anything else as its Rego text. What Go writes for a verb
that does not fit (`%!d(string=x)`), for a missing and for a spare operand is written as well.
"""

from __future__ import annotations

import json
import re
from functools import cmp_to_key
from typing import Any, Final

from bondstone.rego.operands import kind_of, require_strings

_VERB: Final = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]*)(?P<precision>\.[0-9]*)?(?P<verb>.?)", re.DOTALL)
_RANKS: Final = {bool: 1, int: 2, float: 2, str: 3, list: 4, dict: 5}
_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip
_INTEGERS: Final = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_SHORTEST_EXPONENTS: Final = range(-4, 6)
_MAX_WIDTH: Final = 10_000


def sprintf(form: str, operands: list[Any]) -> str:
    """Write operands by a form.

    Args:
        form: With Go's verbs.
        operands: Rego values.

    Raises:
        TypeError: the form is no text, or the operands are no list.
        ValueError: a verb that is not written here, such as `%*d` or `%[1]d`.
    """
    require_strings(form)
    if kind_of(operands) != "array":
        raise TypeError(f"operand 2 must be array but got {kind_of(operands)}")
    parts: list[str] = []
    position = used = 0
    for match in _VERB.finditer(form):
        parts.append(form[position : match.start()])
        position = match.end()
        verb = match["verb"]
        if not verb:
            parts.append("%!(NOVERB)")
        elif verb == "%":
            parts.append("%")
        elif verb in "*[!":
            raise ValueError(f"the verb {match.group()} is not supported")
        elif used == len(operands):
            parts.append(f"%!{verb}(MISSING)")
        else:
            parts.append(_written(match, _operand(operands[used])))
            used += 1
    parts.append(form[position:])
    if used < len(operands):
        spare = ", ".join(f"{_type(item)}={_plain(item)}" for item in map(_operand, operands[used:]))
        parts.append(f"%!(EXTRA {spare})")
    return "".join(parts)


def rego_text(value: Any) -> str:
    """A value as OPA writes it in Rego."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(rego_text, value)) + "]"
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: ordering(pair[0]))
        return "{" + ", ".join(f"{rego_text(key)}: {rego_text(item)}" for key, item in pairs) + "}"
    members = sorted(value, key=ordering)
    return "{" + ", ".join(map(rego_text, members)) + "}" if members else "set()"


def quoted(text: str, *, ascii_only: bool = False) -> str:
    """A text in quotes, as Go's `strconv.Quote`."""
    return '"' + "".join(_escaped(character, ascii_only) for character in text) + '"'


def _escaped(character: str, ascii_only: bool) -> str:  # noqa: FBT001 - one of two ways
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    code = ord(character)
    if code < 0x80:  # noqa: PLR2004 - the end of ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - 16 bits


def _compare(one: Any, other: Any) -> int:
    """OPA's order: null, booleans, numbers, texts, arrays, objects, sets."""
    ranks = (_rank(one), _rank(other))
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if isinstance(one, dict):
        keys = [sorted(value, key=ordering) for value in (one, other)]
        for mine, others in zip(*keys, strict=False):
            order = _compare(mine, others) or _compare(one[mine], other[others])
            if order:
                return order
        return len(one) - len(other)
    if isinstance(one, list | set | frozenset):
        lists = [value if isinstance(value, list) else sorted(value, key=ordering) for value in (one, other)]
        for mine, others in zip(*lists, strict=False):
            if order := _compare(mine, others):
                return order
        return len(one) - len(other)
    return 0 if one is None or one == other else -1 if one < other else 1


ordering = cmp_to_key(_compare)
"""A key to sort Rego values by, as OPA does."""


def _rank(value: Any) -> int:
    return 0 if value is None else _RANKS.get(type(value), 6)


def _operand(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return rego_text(value)


def _type(value: Any) -> str:
    return {str: "string", int: "int64", float: "float64"}[type(value)] if _small(value) else "*big.Int"


def _small(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else _shortest(value, "g")


def _number(value: float) -> str:
    """As JSON has it: what OPA keeps is the text of a number."""
    text = str(value) if isinstance(value, int) else repr(value).removesuffix(".0")
    if "e" in text:
        raise ValueError(f"{text} may have been written otherwise")
    return text


def _written(match: re.Match[str], value: Any) -> str:
    flags, verb = match["flags"], match["verb"]
    width = int(match["width"] or 0)
    precision = None if match["precision"] is None else int(match["precision"][1:] or 0)
    if max(width, precision or 0) > _MAX_WIDTH:
        raise ValueError(f"the verb {match.group()} is not supported")
    if verb == "v" and set(flags) & set("+#"):
        raise ValueError(f"the verb {match.group()} is not supported")
    if verb == "T":
        if precision is not None or "+" in flags or "#" in flags or "0" in flags:
            raise ValueError(f"the verb {match.group()} is not supported")
        return _padded(_type(value), flags.replace("0", ""), width)
    if isinstance(value, str):
        text = _text(value, verb, flags, precision)
    elif isinstance(value, int):
        text = _integer(value, verb, flags, width, precision)
    else:
        text = _float(value, verb, flags, precision)
    if text is None:
        if flags or width or precision is not None:  # they would apply to the value inside
            raise ValueError(f"the verb {match.group()} does not fit {kind_of(value)}")
        return f"%!{verb}({_type(value).removeprefix('*')}={_plain(value)})"
    zeros = "0" in flags and "-" not in flags and not isinstance(value, int)
    return _padded(text, flags if zeros else flags.replace("0", ""), width)


def _text(value: str, verb: str, flags: str, precision: int | None) -> str | None:
    if verb in "xX":
        raw = value.encode()[:precision]
        space, sharp = " " in flags, "#" in flags
        digits = [f"{byte:02{verb}}" for byte in raw]
        mark = f"0{verb}" if sharp and digits else ""
        return (f" {mark}" if space else "").join([mark + digits[0], *digits[1:]]) if digits else ""
    if verb not in "svq":
        return None
    text = value if precision is None else value[:precision]
    if verb == "v" and "#" in flags:
        return _go_quoted(text, flags)
    return _go_quoted(text, flags) if verb == "q" else text


def _go_quoted(text: str, flags: str) -> str:
    if "#" in flags and "`" not in text and all(item == "\t" or item.isprintable() for item in text):
        return f"`{text}`"
    return quoted(text, ascii_only="+" in flags)


def _integer(value: int, verb: str, flags: str, width: int, precision: int | None) -> str | None:
    if verb in "cqU":
        if not _small(value) or precision is not None or (verb == "U" and "#" in flags):
            raise ValueError(f"the verb %{verb} is not supported for {value}")
        character = chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "�"  # noqa: PLR2004
        if verb == "U":
            return f"U+{value:04X}"
        if verb == "c":
            return character
        inner = (
            "\\'"
            if character == "'"
            else '"'
            if character == '"'
            else quoted(character, ascii_only="+" in flags)[1:-1]
        )
        return f"'{inner}'"
    if verb not in _INTEGERS:
        return None
    digits = format(abs(value), _INTEGERS[verb])
    if precision == 0 and value == 0:
        digits = ""
    digits = digits.rjust(precision or 0, "0")
    marks = {"o": "0", "x": "0x", "X": "0X", "b": "0b"}
    mark = "0o" if verb == "O" else marks.get(verb, "") if "#" in flags else ""
    if mark == "0" and digits.startswith("0"):
        mark = ""
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    if "0" in flags and "-" not in flags and precision is None:
        digits = digits.rjust(width - len(sign) - (0 if mark in {"0x", "0X", "0b", "0o"} else len(mark)), "0")
    return sign + mark + digits


def _float(value: float, verb: str, flags: str, precision: int | None) -> str | None:
    if verb in "xXb":
        raise ValueError(f"the verb %{verb} is not supported for a fraction")
    if verb not in "vgGeEfF":
        return None
    if "#" in flags:
        raise ValueError(f"the verb %#{verb} is not supported")
    if verb in "vgG":
        text = _shortest(abs(value), "g") if precision is None else _general(abs(value), precision)
        text = text.upper() if verb == "G" else text
    else:
        text = format(abs(value), f".{6 if precision is None else precision}{verb}")
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    return sign + text


def _shortest(value: float, verb: str) -> str:
    """The fewest digits that say which number it is, with an exponent from a million on."""
    sign, digits, exponent = _digits(value)
    scale = len(digits) + exponent - 1
    if scale in _SHORTEST_EXPONENTS:
        return sign + _positional(digits, exponent)
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}{'e' if verb == 'g' else 'E'}{'-' if scale < 0 else '+'}{abs(scale):02d}"


def _positional(digits: str, exponent: int) -> str:
    if exponent >= 0:
        return digits + "0" * exponent
    whole = digits.rjust(1 - exponent, "0")
    return f"{whole[:exponent]}.{whole[exponent:]}"


def _digits(value: float) -> tuple[str, str, int]:
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) - len(fraction)
    stripped = digits.rstrip("0") or "0"
    return ("-" if value < 0 else "", stripped, exponent + len(digits) - len(stripped) if digits else 0)


def _general(value: float, precision: int) -> str:
    return format(value, f".{precision or 1}g")


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags:
        sign = text[:1] if text[:1] in {"+", "-", " "} else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)
