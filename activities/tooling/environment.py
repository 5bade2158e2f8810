"""What a tool's process may see of the worker's environment: an allow-list, never the whole of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_ALLOWED: Final = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
        "USER",
        "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    }
)  # fmt: skip


def allowed_environment(worker: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """What any tool may see.

    Args:
        worker: The worker's own environment.
        also: Names that the tool or the pool's settings let through beside the allow-list.
    """
    names = _ALLOWED.union(also)
    return {name: value for name, value in worker.items() if name in names or name.startswith("LC_")}
