"""Built-in functions of Rego that regorus answers otherwise than OPA, written anew as OPA's source has them.

They run inside the child process (`bondstone.rego.child`), where regorus calls them instead of its own. A value
that cannot be taken over exactly raises, and the rule then counts as failed: an answer that might not be OPA's is
worse than none. (Source: OPA 1.22, `v1/topdown`: strings.go, semver.go, subset.go, encoding.go, cidr.go.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from bondstone.rego.networks import cidr_contains, cidr_expand, cidr_intersects, cidr_is_valid
from bondstone.rego.numbers import ceil, exact_number, floor, format_int, parse_bytes, parse_units, to_number
from bondstone.rego.operands import require_strings, whole
from bondstone.rego.regular_expressions import (
    regex_find_all_string_submatch_n,
    regex_find_n,
    regex_is_valid,
    regex_match,
    regex_replace,
    regex_split,
    regex_template_match,
)
from bondstone.rego.sprintf import ordering, rego_text, sprintf
from bondstone.rego.times import parse_duration_ns, parse_rfc3339_ns

_ESCAPED_IN_JSON: Final = re.compile("[<>&\u2028\u2029\x7f]")
_MAX_INT64: Final = 2**63 - 1
_SEMVER: Final = re.compile(
    r"v?(?P<core>(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))"
    r"(?:-(?P<before>(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_NAME_AFTER_DOLLAR: Final = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def lower(text: str) -> str:
    """`lower`: each character by itself, as Go does; Python knows cases of several characters."""
    require_strings(text)
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def upper(text: str) -> str:
    """`upper`, likewise: a sharp s stays one."""
    require_strings(text)
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def count(text: str, part: str) -> int:
    """`strings.count`: occurrences that do not overlap."""
    require_strings(text, part)
    return text.count(part)


def replace_n(patterns: dict[str, str], text: str) -> str:
    """`strings.replace_n`: at each place the first key in order that matches, and nothing twice."""
    require_strings(text, *patterns, *patterns.values())
    if not patterns:
        return text
    if "" in patterns:
        raise ValueError("an empty text to replace is not supported")
    keys = re.compile("|".join(map(re.escape, sorted(patterns))))
    return keys.sub(lambda match: patterns[match.group()], text)


def unmarshal(text: str) -> Any:
    """`json.unmarshal`: numbers exact, or an error."""
    require_strings(text)
    return json.loads(text, parse_float=exact_number, parse_int=exact_number, parse_constant=_no_constant)


def replace(text: str, old: str, new: str) -> str:
    """`replace`."""
    require_strings(text, old, new)
    if not old:
        raise ValueError("an empty text to replace is not supported")
    return text.replace(old, new)


def marshal(value: Any) -> str:
    """`json.marshal`: members in order, and `<`, `>` and `&` escaped, as Go does."""
    return _escaped(json.dumps(_json_value(value), separators=(",", ":"), ensure_ascii=False))


def marshal_with_options(value: Any, options: dict[str, Any]) -> str:
    """`json.marshal_with_options`: in lines where the options say so, or how such lines look."""
    looks = {"indent": "\t", "prefix": ""}
    pretty = any(name in options for name in looks)
    for name, option in options.items():
        if name == "pretty" and isinstance(option, bool):
            continue
        if name not in looks:
            raise ValueError(f"object contained unknown key {name}, or a value of another type")
        require_strings(option)
        looks[name] = option
    if not options.get("pretty", pretty):
        return marshal(value)
    lines = _escaped(json.dumps(_json_value(value), indent=looks["indent"], ensure_ascii=False)).split("\n")
    return "\n".join(f"{looks['prefix']}{line}" for line in lines)


def json_is_valid(text: Any) -> bool:
    """`json.is_valid`."""
    try:
        json.loads(text, parse_float=str, parse_int=str, parse_constant=_no_constant)
    except (TypeError, ValueError):
        return False
    return isinstance(text, str)


def semver_is_valid(version: Any) -> bool:
    """`semver.is_valid`."""
    return isinstance(version, str) and _semver(version) is not None


def _semver(version: str) -> re.Match[str] | None:
    match = _SEMVER.fullmatch(version)
    if match and any(int(part) > _MAX_INT64 for part in match["core"].split(".")):
        return None
    return match


def semver_compare(one: str, other: str) -> int:
    """`semver.compare`: -1, 0 or 1; what comes after `+` does not count."""
    keys = []
    for version in (one, other):
        require_strings(version)
        match = _semver(version)
        if match is None:
            raise ValueError(f"{version!r} is not a valid SemVer")
        before = match["before"]
        parts = [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in (before or "").split(".")
        ]
        keys.append(([int(part) for part in match["core"].split(".")], before is None, parts))
    return (keys[0] > keys[1]) - (keys[0] < keys[1])


def subset(whole: Any, part: Any) -> bool:
    """`object.subset`: of objects, sets, arrays; a set may be part of an array."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _is_part(whole[key], item) for key, item in part.items())
    if _is_set(whole) and _is_set(part):
        return bool(part <= whole)
    if isinstance(whole, list) and isinstance(part, list):
        return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))
    if isinstance(whole, list) and _is_set(part):
        return bool(whole) and all(item in whole for item in part)
    raise TypeError("both operands must be of the same type or array and set")


def indexof_n(text: str, part: str) -> list[int]:
    """`indexof_n`: every place, those that overlap too."""
    require_strings(text, part)
    if not part:
        raise ValueError("empty search character")
    return [at for at in range(len(text)) if text.startswith(part, at)]


def indexof(text: str, part: str) -> int:
    """`indexof`: the first place, by characters; -1 for none."""
    require_strings(text, part)
    if not part:
        raise ValueError("empty search character")
    return text.find(part)


def substring(text: str, start: Any, length: Any) -> str:
    """`substring`: by characters; a negative length means: to the end."""
    require_strings(text)
    first, size = whole(start), whole(length)
    if first < 0:
        raise ValueError("negative offset")
    return text[first:] if size < 0 else text[first : first + size]


def query_encode(text: str) -> str:
    """`urlquery.encode`."""
    require_strings(text)
    return quote_plus(text)


def query_encode_object(members: dict[str, Any]) -> str:
    """`urlquery.encode_object`: each member a text or several, in order."""
    pairs = []
    for name in sorted(members):
        value = members[name]
        for item in sorted(value) if _is_set(value) else value if isinstance(value, list) else [value]:
            require_strings(item)
            pairs.append((name, item))
    return urlencode(pairs)


def base64_is_valid(text: Any) -> bool:
    """`base64.is_valid`: line breaks do not count, as in Go."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (AttributeError, ValueError):
        return False
    return True


def _hashed(name: str) -> Callable[[str], str]:
    def hashed(text: str) -> str:
        require_strings(text)
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    return hashed


FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "base64.is_valid": (1, base64_is_valid),
    "ceil": (1, ceil),
    "crypto.md5": (1, _hashed("md5")),
    "crypto.sha1": (1, _hashed("sha1")),
    "crypto.sha256": (1, _hashed("sha256")),
    "floor": (1, floor),
    "format_int": (2, format_int),
    "indexof": (2, indexof),
    "indexof_n": (2, indexof_n),
    "json.is_valid": (1, json_is_valid),
    "json.marshal": (1, marshal),
    "json.marshal_with_options": (2, marshal_with_options),
    "json.unmarshal": (1, unmarshal),
    "lower": (1, lower),
    "net.cidr_contains": (2, cidr_contains),
    "net.cidr_expand": (1, cidr_expand),
    "net.cidr_intersects": (2, cidr_intersects),
    "net.cidr_is_valid": (1, cidr_is_valid),
    "object.subset": (2, subset),
    "regex.find_all_string_submatch_n": (3, regex_find_all_string_submatch_n),
    "regex.find_n": (3, regex_find_n),
    "regex.is_valid": (1, regex_is_valid),
    "regex.match": (2, regex_match),
    "regex.replace": (3, regex_replace),
    "regex.split": (2, regex_split),
    "regex.template_match": (4, regex_template_match),
    "replace": (3, replace),
    "semver.compare": (2, semver_compare),
    "semver.is_valid": (1, semver_is_valid),
    "sprintf": (2, sprintf),
    "strings.count": (2, count),
    "strings.replace_n": (2, replace_n),
    "substring": (3, substring),
    "time.parse_duration_ns": (1, parse_duration_ns),
    "time.parse_rfc3339_ns": (1, parse_rfc3339_ns),
    "to_number": (1, to_number),
    "units.parse": (1, parse_units),
    "units.parse_bytes": (1, parse_bytes),
    "upper": (1, upper),
    "urlquery.encode": (1, query_encode),
    "urlquery.encode_object": (1, query_encode_object),
}
"""Name to number of operands and function."""
COUNT: Final = ("count", 1, len)
"""Taken where a text has characters beyond 16 bits, which regorus counts twice; it takes no set of objects."""
ADDED: Final = frozenset({"crypto.md5", "crypto.sha1", "crypto.sha256", "net.cidr_intersects"})
"""Those that regorus does not know by itself."""


def _escaped(text: str) -> str:
    return _ESCAPED_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("an object with members that are not texts is not supported")
        return {key: _json_value(value[key]) for key in sorted(value)}
    if _is_set(value):
        return [_json_value(item) for item in sorted(value, key=ordering)]
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, float):
        rego_text(value)  # raises where it may have been written otherwise
    return value


def _is_set(value: Any) -> bool:
    return isinstance(value, set | frozenset)


def _is_part(whole: Any, part: Any) -> bool:
    if whole == part:
        return True
    same = [isinstance(whole, kind) and isinstance(part, kind) for kind in (dict, list)]
    return (any(same) or (_is_set(whole) and _is_set(part))) and subset(whole, part)


def _lower(character: str) -> str:
    changed = character.lower()
    return changed if len(changed) == 1 else changed[0]  # only U+0130: a dotted capital I


def _upper(character: str) -> str:
    changed = character.upper()
    if len(changed) > 1:  # where one character has no capital of its own, its title case may
        changed = character.title()
    return changed if len(changed) == 1 else character


def _no_constant(text: str) -> Any:
    raise ValueError(f"invalid character in {text}")
