"""The `terraform` section of a step in a promise."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bondstone.base.models import Manifest


class TerraformSection(Manifest):
    """What a promise says of a Terraform step."""

    module: str = Field(min_length=1, max_length=512)
    """Directory of the root module, relative to the promise: `terraform/database`. Never an expression."""
    variables: dict[str, Any] = {}
    """Values of the module's input variables; strings may hold `${…}`."""
    backend: Literal["local", "own"] = "local"
    """`local`: the platform keeps the state. `own`: the module's own backend block does, with its own lock."""
    backend_config: dict[str, Any] = {}
    """With `backend: own`: what `terraform init -backend-config` gets. It tells services apart."""
