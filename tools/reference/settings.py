"""The page of every setting: from `bondstone/base/settings.py`."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.cluster_settings import ContainerJobs
from bondstone.base.destinations import BucketDestination, GitDestination
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.base.settings import Settings
from tools.docstrings import cell, field_texts

PAGE = "docs/reference/settings.md"

HEAD = """# Settings

Every process of Bondstone reads its settings from these places; the first that has one wins:

1. arguments (`bond --data DIR`, `--as NAME`),
2. environment variables `BOND_<NAME>`,
3. `bond.toml`: the file that `BOND_CONFIG` names, else the one in the working directory,
4. `platform.json` in the data directory, which `bond up` writes so that clients find the platform,
5. the default.

`bond config show` prints the effective values and where each comes from. Lists are JSON in the environment
(`BOND_POOLS='["default", "prod-eu"]'`) and arrays in `bond.toml`:

```toml
pools = ["default", "prod-eu"]
terraform_slots = 4
tool_environment = ["AWS_PROFILE", "AWS_REGION"]
```

| setting | variable | type | default | what it is |
|---|---|---|---|---|
"""

TABLES: tuple[tuple[type[BaseModel], str], ...] = (
    (IssuerSettings, "## Issuers\n\nEach entry of `issuers`; [how to use them](../how-to/sign-in.md)."),
    (BackstageSettings, "## Backstage\n\nThe table `backstage`; [how to use it](../how-to/backstage.md)."),
    (
        GitDestination,
        "## Git destinations\n\nThe tables `git_destinations.NAME`; [how to use them](kratix.md#git-destinations).",
    ),
    (
        BucketDestination,
        "## Bucket destinations\n\nThe tables `bucket_destinations.NAME`; [how to use them](kratix.md#buckets).",
    ),
    (ContainerJobs, "## Container jobs\n\nThe table `container_jobs`; [how to use it](container.md)."),
)
"""Settings that are tables, and what introduces each."""

TAIL = """
## Other variables

| variable | what it is |
|---|---|
| `BOND_AS` | who is asking, as `--as`; else the user of the operating system |
| `BOND_CONFIG` | path of the settings file |
| `BOND_DEBUG` | `1` prints the traceback of an error |
| `NO_COLOR` | no colours and no live displays |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | a collector of traces, as in `http://127.0.0.1:4318`; with it workers and commands are [traced](../how-to/observe.md#traces). The other `OTEL_*` variables of OpenTelemetry count too: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, … |
| `TRACEPARENT` | where in a trace a command is called, as a pipeline says it; the tools get theirs by that name |
| `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_PROFILE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS…` | Temporal's own client configuration (also `temporal.toml`). It is used when the data directory names no embedded platform and `BOND_TEMPORAL_ADDRESS` is not set; see [where this differs from the design](../architecture.md#where-this-differs-from-the-design) |
| `AWS_*`, `GOOGLE_*`, `AZURE_*` | credentials and endpoints of an object store in a cloud |

Terraform sees none of the worker's variables but an allow-list (`HOME`, `LANG`, `LC_*`, `LOGNAME`, `PATH`, `SHELL`,
`SSL_CERT_DIR`, `SSL_CERT_FILE`, `TF_CLI_CONFIG_FILE`, `TMPDIR`, `TZ`, `USER` and the proxies) and those that
`tool_environment` names. It and its providers get `GOGC=300`, with which Go spends less CPU time on collecting garbage and
takes a little more memory, unless `tool_environment` names `GOGC`.
"""


def text() -> str:
    """The whole page."""
    texts = field_texts(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        rows.append(
            f"| `{name}` | `BOND_{name.upper()}` | {_type(field.annotation)} | {_default(name, field.default)} "
            f"| {cell(texts.get(name, ''))} |\n"
        )
    tables = (_table(model, introduction) for model, introduction in TABLES)
    return HEAD + "".join(rows) + "".join(tables) + TAIL


def _table(model: type[BaseModel], introduction: str) -> str:
    head = "| setting | type | default | what it is |\n|---|---|---|---|\n"
    return f"\n{introduction}\n\n{head}{''.join(_rows(model))}"


def _rows(model: type[BaseModel]) -> Iterator[str]:
    texts = field_texts(model)
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(name, field.default)
        yield f"| `{name}` | {_type(field.annotation)} | {default} | {cell(texts.get(name, ''))} |\n"


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = [argument for argument in typing.get_args(annotation) if argument not in {type(None), ...}]
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is tuple:
        of = _type(arguments[0])
        return f"list of {'tables' if of == 'table' else of}"
    if origin in {types.UnionType, typing.Union}:
        return _type(arguments[0])
    if origin is dict or annotation in dict(TABLES):
        return "table"
    words = {Path: "path", str: "text", int: "number", float: "number", bool: "true or false"}
    return words[annotation]


def _default(name: str, default: Any) -> str:
    if name == "data":
        return "the user's data directory, as in `~/.local/share/bondstone`"
    if default in (None, "", PydanticUndefined, (), {}):
        return ""
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
