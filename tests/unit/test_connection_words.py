"""Failures of the network in words."""

from __future__ import annotations

import errno
import socket

import pytest

from bondstone.base.connection_words import connection_words

NOWHERE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "Connection refused"),
        (NOWHERE, "Name or service not known"),
        (RuntimeError("[Errno 111] Connection refused"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] no a, [Errno 101] no b"), "Multiple exceptions: no a, no b"),
        (TimeoutError(), "it took too long"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_a_failure_is_told_without_numbers_of_errors(error, words):
    assert connection_words(error) == words
