"""What a tool process may see of the worker's environment: an allow-list, never the whole of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

_ALLOWED = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
        "USER", "TF_CLI_CONFIG_FILE",
        "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    }
)  # fmt: skip
_ALWAYS = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}


def tool_environment(
    worker: Mapping[str, str], also: Iterable[str], *, data: Path, plugins: Path | None = None
) -> dict[str, str]:
    """The environment of one Terraform process.

    Args:
        worker: The worker's own environment.
        also: Names that the pool's settings let through beside the allow-list.
        data: The prepared `TF_DATA_DIR` of the module.
        plugins: The provider cache, for `init` only: it is not safe for concurrent use.
    """
    names = _ALLOWED.union(also)
    found = {name: value for name, value in worker.items() if name in names or name.startswith("LC_")}
    found |= {**_ALWAYS, "TF_DATA_DIR": str(data)}
    if plugins is not None:
        found["TF_PLUGIN_CACHE_DIR"] = str(plugins)
    return found
