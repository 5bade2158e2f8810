"""Built-in functions of Rego that regorus answers otherwise than OPA, written anew as OPA's source has them.

They run inside the child process (`bondstone.rego.child`), where regorus calls them instead of its own. A value
that cannot be taken over exactly raises, and the rule then counts as failed: an answer that might not be OPA's is
worse than none. (Source: OPA 1.22, `v1/topdown`: strings.go, semver.go, subset.go, encoding.go, cidr.go.)
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any, Final

from bondstone.rego.numbers import exact_number, parse_bytes, parse_units, to_number
from bondstone.rego.operands import require_strings
from bondstone.rego.regular_expressions import (
    regex_find_all_string_submatch_n,
    regex_find_n,
    regex_is_valid,
    regex_match,
    regex_replace,
    regex_split,
    regex_template_match,
)
from bondstone.rego.sprintf import sprintf

_SEMVER: Final = re.compile(
    r"(?P<core>(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))"
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


def json_is_valid(text: Any) -> bool:
    """`json.is_valid`."""
    try:
        json.loads(text, parse_float=str, parse_int=str, parse_constant=_no_constant)
    except (TypeError, ValueError):
        return False
    return isinstance(text, str)


def semver_is_valid(version: Any) -> bool:
    """`semver.is_valid`."""
    return isinstance(version, str) and _SEMVER.fullmatch(version) is not None


def semver_compare(one: str, other: str) -> int:
    """`semver.compare`: -1, 0 or 1; what comes after `+` does not count."""
    keys = []
    for version in (one, other):
        require_strings(version)
        match = _SEMVER.fullmatch(version)
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


def cidr_intersects(one: str, other: str) -> bool:
    """`net.cidr_intersects`."""
    require_strings(one, other)
    networks = [ipaddress.ip_network(text, strict=False) for text in (one, other) if "/" in text]
    if len(networks) < 2:  # noqa: PLR2004 - both
        raise ValueError("not a valid CIDR")
    return networks[0].version == networks[1].version and networks[0].overlaps(networks[1])


def _hashed(name: str) -> Callable[[str], str]:
    def hashed(text: str) -> str:
        require_strings(text)
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    return hashed


FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "crypto.md5": (1, _hashed("md5")),
    "crypto.sha1": (1, _hashed("sha1")),
    "crypto.sha256": (1, _hashed("sha256")),
    "json.is_valid": (1, json_is_valid),
    "json.unmarshal": (1, unmarshal),
    "lower": (1, lower),
    "net.cidr_intersects": (2, cidr_intersects),
    "object.subset": (2, subset),
    "regex.find_all_string_submatch_n": (3, regex_find_all_string_submatch_n),
    "regex.find_n": (3, regex_find_n),
    "regex.is_valid": (1, regex_is_valid),
    "regex.match": (2, regex_match),
    "regex.replace": (3, regex_replace),
    "regex.split": (2, regex_split),
    "regex.template_match": (4, regex_template_match),
    "semver.compare": (2, semver_compare),
    "semver.is_valid": (1, semver_is_valid),
    "sprintf": (2, sprintf),
    "strings.count": (2, count),
    "strings.replace_n": (2, replace_n),
    "to_number": (1, to_number),
    "units.parse": (1, parse_units),
    "units.parse_bytes": (1, parse_bytes),
    "upper": (1, upper),
}
"""Name to number of operands and function."""
ADDED: Final = frozenset({"crypto.md5", "crypto.sha1", "crypto.sha256", "net.cidr_intersects"})
"""Those that regorus does not know by itself."""


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
