"""What the tests of a whole platform share: its promises, its commands' answers. It itself is in `tools`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema_rs

from harness.local_platform import LocalPlatform, publish, running
from harness.waiting import until

__all__ = [
    "PROMISES", "REQUIRED", "SCHEMAS", "LocalPlatform", "api_refusals", "publish", "read_json", "refused",
    "running", "until",
]  # fmt: skip

REQUIRED = {"BOND_ATTESTATION": "required"}
"""Each change needs a signed attestation. What works there works with `local`, which checks less."""
PROMISES = Path(__file__).with_name("promises")
SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def read_json(
    platform: LocalPlatform, schema: str, *arguments: str, status: int = 0, stdin_text: str | None = None
):
    """What a command prints with `-o json`, checked against its schema."""
    ran = platform.bond(*arguments, "-o", "json", status=status, stdin_text=stdin_text)
    value = json.loads(ran.stdout)
    written = json.loads((SCHEMAS / f"{schema}.json").read_text())
    jsonschema_rs.validator_for(written, validate_formats=True).validate(value)
    return value


def refused(ran: subprocess.CompletedProcess[str], code: str) -> dict:
    """The one error object on standard error."""
    assert "Traceback" not in ran.stderr
    [line] = ran.stderr.strip().split("\n")
    error = json.loads(line)["error"]
    assert error["code"] == code
    assert error["message"]
    return error


def api_refusals(platform: LocalPlatform, code: str) -> list[dict]:
    """What the platform's API has logged of requests that it refused by this code, oldest first."""
    lines = [json.loads(line) for line in platform.log("api").splitlines() if '"event": "refused"' in line]
    return [line for line in lines if line["code"] == code]
