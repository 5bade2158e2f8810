"""What the tests of a whole platform share: its promises, its commands' answers. It itself is in `tools`."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema_rs

from bondstone.cli import app as cli
from harness.local_platform import LocalPlatform, publish, running
from harness.waiting import until

__all__ = [
    "PROMISES", "REQUIRED", "SCHEMAS", "InProcess", "LocalPlatform", "api_refusals", "publish", "read_json",
    "refused", "running", "until",
]  # fmt: skip

REQUIRED = {"BOND_ATTESTATION": "required"}
"""Each change needs a signed attestation. What works there works with `local`, which checks less."""
PROMISES = Path(__file__).with_name("promises")
SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


class InProcess(LocalPlatform):
    """The same platform, whose commands run in this process: none of them costs a fork.

    For tests of what the platform does. `test_cli_*.py` tests the commands, as processes of their own.

    Args:
        platform: The platform, which runs.
    """

    def __init__(self, platform: LocalPlatform) -> None:
        super().__init__(platform.data)
        self.environment = platform.environment

    def bond(
        self, *arguments: str, stdin_text: str | None = None, status: int | None = 0, seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """As its base, which ends with the test when it hangs."""
        del seconds
        # In a thread, since this one may have an event loop that runs.
        with patch.dict("os.environ", self.environment, clear=True), ThreadPoolExecutor(1) as apart:
            ran = apart.submit(_run, ["--data", str(self.data), *arguments], stdin_text or "").result()
        if status is not None and ran.returncode != status:
            raise AssertionError(f"bond {arguments}: {ran.stdout}\n{ran.stderr}")
        return ran


def _run(arguments: list[str], stdin_text: str) -> subprocess.CompletedProcess[str]:
    outputs = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in outputs)
    stdin = io.TextIOWrapper(io.BytesIO(stdin_text.encode()), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch("sys.stdin", stdin):
        try:
            status = cli.main(arguments)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    texts = [each.getvalue().decode() for each in outputs]
    return subprocess.CompletedProcess(tuple(arguments), status, *texts)


def read_json(
    platform: LocalPlatform, schema: str, *arguments: str, status: int = 0, stdin_text: str | None = None
):
    """What a command prints with `-o json`, checked against its schema."""
    ran = platform.bond(*arguments, "-o", "json", status=status, stdin_text=stdin_text)
    value = json.loads(ran.stdout)
    _validator(schema).validate(value)
    return value


@cache
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(json.loads((SCHEMAS / f"{schema}.json").read_text()), validate_formats=True)


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
