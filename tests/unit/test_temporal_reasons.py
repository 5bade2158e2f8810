"""What is said of a Temporal that does not answer: the one short reason inside what the transport says."""

from __future__ import annotations

import pytest

from bondstone.temporal.connection import MAX_REASON_CHARS, reason

REFUSED = (
    "Failed client connect: Server connection error: tonic::transport::Error(Transport, ConnectError(ConnectError("
    '"tcp connect error", 127.0.0.1:9, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))'
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (REFUSED, "Connection refused"),
        ('call error: Status { code: Unavailable, message: "error trying to connect", metadata: {} }',
         "error trying to connect"),
        ("Failed client connect: Server connection error: dns error (Custom { kind: Other })", "dns error"),
        ("Namespace default is not found.", "Namespace default is not found."),
        ("", ""),
    ],
)  # fmt: skip
def test_the_reason_is_found_among_the_wrappers(text: str, shown: str) -> None:
    assert reason(text) == shown


def test_a_reason_is_short_whatever_was_said() -> None:
    assert len(reason("x" * 5000)) == MAX_REASON_CHARS
    assert "\n" not in reason("one\ntwo")
