"""Canaries: values that must turn up nowhere, all of which begin alike, so that one search finds any of them."""

from __future__ import annotations

import base64
import gzip
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO

SHORTEST_FORM = 8
CONTEXT_BYTES = 60
"""Of what is around a canary that came out, for whoever has to find out how."""


@lru_cache(maxsize=1000)
def forms(text: str) -> tuple[bytes, ...]:
    """How a text of letters and digits may be written; of base64 what does not depend on what stands around it."""
    return tuple(dict.fromkeys(_forms(text)))


def _forms(text: str) -> Iterator[bytes]:
    data = text.encode()
    for source in (data, text.upper().encode()):
        yield source
        for offset in range(3):
            whole = base64.b64encode(b"\0" * offset + source)
            yield whole[4:-4]
            yield base64.urlsafe_b64encode(b"\0" * offset + source)[4:-4]
    if text.isdecimal():
        return
    spelt = ["".join(map(form.format, data)) for form in ("%{:02x}", "\\u{:04x}", "&#{};")]
    for written in (data.hex(), data.hex(":"), data.hex(" "), *spelt):
        yield written.encode()
        yield written.upper().encode()


@dataclass
class Canaries:
    """Every canary of one platform, by what it is, and the markers that went the same ways in plain."""

    beginning: str = field(default_factory=lambda: f"cnry{secrets.token_hex(6)}")
    """What each text among them begins with. It has to be one that nothing else can hold."""
    known: dict[str, str] = field(default_factory=dict)
    marker: str = field(default_factory=lambda: f"marker-{secrets.token_hex(8)}")

    def text(self, what: str) -> str:
        """A new one."""
        return self.note(what, f"{self.beginning}x{secrets.token_hex(6)}")

    def note(self, what: str, value: str) -> str:
        """One whose value was chosen elsewhere."""
        assert what not in self.known, what
        self.known[what] = value
        return value

    def __post_init__(self) -> None:
        self._sought = {form for form in forms(self.beginning) if len(form) >= SHORTEST_FORM}

    def leaks(self, data: bytes) -> list[str]:
        """Each canary that is in there in any form, with what is around it."""
        chosen = [value for value in self.known.values() if not value.startswith(self.beginning)]
        sought = self._sought | {form for value in chosen for form in forms(value) if len(form) >= SHORTEST_FORM}
        leaks = set()
        for form in sought:
            at = data.find(form)
            while at >= 0:
                around = data[max(0, at - CONTEXT_BYTES) : at + len(form) + CONTEXT_BYTES]
                leaks.add(f"{self._which(around)}: {around!r}")
                at = data.find(form, at + len(form))
        return sorted(leaks)

    def _which(self, around: bytes) -> str:
        names = [what for what, value in self.known.items() if any(form in around for form in forms(value))]
        return ", ".join(names) or "one of them"


def archived(data: bytes) -> bytes:
    """All that a `.tar.gz` holds, with the names, archives inside it opened too."""
    parts = []
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            content = opened.read() if opened is not None else b""
            parts += [member.name.encode(), content, *unpacked(content)]
    return b"\n".join(parts)


def unpacked(data: bytes) -> list[bytes]:
    """What is inside, where it is compressed."""
    try:
        return [gzip.decompress(data)] if data[:2] == b"\x1f\x8b" else []
    except (OSError, EOFError):
        return []
