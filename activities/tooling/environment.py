"""What a tool's process may see of the worker's environment: an allow-list, never the whole of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_ALLOWED: Final = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
        "USER",
        "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    }
)  # fmt: skip


_PLAIN_ENDINGS: Final = (
    "REGION", "ZONE", "PROFILE", "PROJECT", "LOCATION", "ENDPOINT", "HOST", "PORT", "USERNAME", "USER", "CONFIG",
    "FILE", "DIR", "PATH", "ACCOUNT", "NAMESPACE", "DEBUG", "LOG", "LEVEL", "ENVIRONMENT", "VERSION",
)  # fmt: skip
_MIN_TEXT: Final = 8
"""Of a variable's value: shorter ones are flags and names of regions rather than credentials."""


def environment_secrets(worker: Mapping[str, str], names: Iterable[str]) -> Iterator[str]:
    """The values that a pool lets its tools see and nobody else should: what is redacted beside inputs.

    Args:
        worker: The worker's own environment.
        names: The pool's `tool_environment`. Values are taken as secret unless the name's end says otherwise
            (`AWS_REGION`, `GOOGLE_PROJECT`), they are paths of files, or shorter than eight characters.
    """
    for name in names:
        value = worker.get(name, "")
        if len(value) >= _MIN_TEXT and not value.startswith(("/", "~")) and not name.endswith(_PLAIN_ENDINGS):
            yield value


def allowed_environment(worker: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """What any tool may see.

    Args:
        worker: The worker's own environment.
        also: Names that the tool or the pool's settings let through beside the allow-list.
    """
    names = _ALLOWED.union(also)
    return {name: value for name, value in worker.items() if name in names or name.startswith("LC_")}
