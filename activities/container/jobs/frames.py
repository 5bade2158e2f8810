"""How files go through a pod's log: sealed, in numbered lines, with a bound. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32
MAX_LOG_BYTES: Final = 8 << 20
"""Of a log that is read for frames; what a Job may say in them is less than half of it."""

_MARK: Final = "bond-output-1"
_LINE: Final = re.compile(rf"^{_MARK} (\d+)/(\d+) ([A-Za-z0-9+/=]+)$", re.MULTILINE)
_CHUNK_CHARS: Final = 8_000  # container runtimes split lines at 16 KiB
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Collected:
    """What an image has left in `/bond/output`."""

    files: Mapping[str, bytes]
    problem: str = ""
    """Why something in it could not be read."""


class FrameError(ValueError):
    """A log does not hold what was sealed, whole."""


def sealed_lines(collected: Collected, key: bytes, name: str) -> Iterator[str]:
    """Lines for a log.

    Args:
        collected: What is to be handed over.
        key: `KEY_BYTES` bytes.
        name: Of the Job: lines of another one do not open.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - workers that need none start without

    files = {file: base64.b64encode(data).decode() for file, data in collected.files.items()}
    plain = json.dumps({"files": files, "problem": collected.problem}).encode()
    nonce = os.urandom(_NONCE_BYTES)
    text = base64.b64encode(nonce + AESGCM(key).encrypt(nonce, plain, name.encode())).decode()
    chunks = [text[at : at + _CHUNK_CHARS] for at in range(0, len(text), _CHUNK_CHARS)]
    for number, chunk in enumerate(chunks, 1):
        yield f"{_MARK} {number}/{len(chunks)} {chunk}"


def opened(log: str, key: bytes, name: str) -> Collected:
    """What some lines of a log hold; other lines do not matter.

    Raises:
        FrameError: when lines are missing, or were not sealed by that key for that Job.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    lines = {int(number): (int(total), chunk) for number, total, chunk in _LINE.findall(log)}
    totals = {total for total, _ in lines.values()}
    if len(totals) != 1 or set(lines) != set(range(1, max(totals) + 1)):
        raise FrameError(f"its log has {len(lines)} of {max(totals, default=1)} lines of the output")
    try:
        data = base64.b64decode("".join(lines[number][1] for number in sorted(lines)), validate=True)
        plain = AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], name.encode())
    except (InvalidTag, binascii.Error, ValueError):
        raise FrameError("what its log holds was not sealed for this Job") from None
    document = json.loads(plain)
    files = {str(file): base64.b64decode(text) for file, text in document["files"].items()}
    return Collected(files, str(document["problem"]))
