"""What Terraform sees of the worker's environment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bondstone.activities.tooling.environment import allowed_environment

GARBAGE_COLLECTION = {"GOGC": "300"}
"""Terraform and its providers are Go programs that read a schema and end. Collecting garbage less often saves a
tenth of their CPU time, with a provider as large as AWS a quarter, for a tenth more memory."""

_ALWAYS = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}


def tool_environment(
    worker: Mapping[str, str],
    also: Iterable[str],
    *,
    data: Path,
    plugins: Path | None = None,
    directory: Path | None = None,
) -> dict[str, str]:
    """The environment of one Terraform process.

    Args:
        worker: The worker's own environment.
        also: Names that the pool's settings let through beside the allow-list.
        data: The prepared `TF_DATA_DIR` of the module.
        plugins: The provider cache, for `init` only: it is not safe for concurrent use.
        directory: Where it runs, by the name that modules shall see.
    """
    variables = GARBAGE_COLLECTION | allowed_environment(worker, ["TF_CLI_CONFIG_FILE", *also])
    variables |= {**_ALWAYS, "TF_DATA_DIR": str(data)}
    if plugins is not None:
        variables["TF_PLUGIN_CACHE_DIR"] = str(plugins)
    if directory is not None:
        variables["PWD"] = str(directory)
    return variables
