"""Random requests, fitting and not fitting the OpenAPI description, to a real platform as every role.

Schemathesis makes them from the description and checks every answer: none of 5xx, none that is not described.
`make schemathesis` installs it; `python -m harness.openapi_fuzz` asks as every role.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from bondstone.model.identity import APPROVER, ROLES
from harness.api_process import ApiProcess
from harness.local_platform import running

ROOT: Final = Path(__file__).parents[1]
SCHEMATHESIS: Final = ROOT / ".tools" / "schemathesis"
PINS: Final = ROOT / "requirements" / "schemathesis.txt"
PROMISE: Final = ROOT / "promises" / "queue"
SERVICE: Final = "payments/orders"
STREAM_SECONDS: Final = 0.2
"""Streams that never end by themselves would be read until they do."""
EXAMPLES: Final = 30
PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")
"""All that Schemathesis has."""
REPORT: Final = "report.json"

CONFIG: Final = """
base-url = "{url}"
hooks = "schemathesis_hooks"
headers = {{ Authorization = "Bearer ${{FUZZ_TOKEN}}" }}
request-timeout = 60
continue-on-failure = true
workers = 1
warnings = false

[generation]
database = "none"

# Chains follow the links of schemathesis_hooks.py; those that Schemathesis infers would crowd them out.
[phases.stateful]
max-steps = 40
inference.algorithms = []

[parameters]
"path.team" = {{ dictionary = "team", probability = 0.7 }}
"path.name" = {{ dictionary = "name", probability = 0.7 }}
"path.number" = {{ dictionary = "number", probability = 0.7 }}
"path.promise" = {{ dictionary = "promise", probability = 0.7 }}
"query.wait" = {{ dictionary = "wait", probability = 1.0 }}

[dictionaries]
team = {{ values = ["payments"] }}
name = {{ values = ["orders"] }}
number = {{ values = [1, 2, 3] }}
promise = {{ values = ["queue"] }}
wait = {{ values = [0, 1] }}

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 422, 429, 431]
"""
"""`positive_data_acceptance` is off: no JSON Schema says what is a campaign, a policy or a CEL expression."""


class FuzzError(Exception):
    """Schemathesis could not be run; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of the requests of one role.

    Args:
        role: Who asked.
        cases: How many requests were made and checked.
        links: How many links from an answer to a further request were followed, of how many; empty without chains.
        findings: What was wrong with answers, in Schemathesis's words; empty for nothing.
        output: All that it printed.
        status: How it ended: 0 for well.
    """

    role: str
    cases: int
    links: str
    findings: tuple[str, ...]
    output: str
    status: int


def missing() -> str:
    """Why this cannot be run; empty when it can."""
    return "" if (SCHEMATHESIS / ".pins").exists() else "Schemathesis is not installed: run `make tools`"


def prepare(api: ApiProcess) -> None:
    """Make what a part of the requests is about: a service, and a freeze of the same name."""
    with httpx2.Client(base_url=f"{api.url}/api/v1", headers=api.bearer, trust_env=False, timeout=60) as client:
        for path, body in (
            ("/services?wait=30", {"promise": "queue", "service": SERVICE}),
            ("/freezes", {"name": "orders", "team": "payments", "reason": "to be found"}),
        ):
            answer = client.post(path, json=body)
            if answer.status_code not in {200, 201, 202, 409}:
                raise FuzzError(f"{path}: {answer.text}")


def fuzz(
    api: ApiProcess,
    role: str,
    directory: Path,
    *,
    phases: Sequence[str] = PHASES,
    examples: int = EXAMPLES,
    seed: int = 1,
    paths: str = "",
) -> Outcome:
    """Send random requests as a role, and look at every answer.

    Args:
        api: Where they are sent, see `prepare`.
        role: Who sends them, granted everywhere.
        directory: For reports.
        phases: Of Schemathesis: examples in the description, what each schema's edges give, random requests,
            chains of requests.
        examples: Random requests for each address.
        seed: Gives the same requests again.
        paths: A regular expression for the addresses that are asked; empty for all.

    Raises:
        FuzzError: it cannot be run.
    """
    if why := missing():
        raise FuzzError(why)
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG.format(url=api.url), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("schemathesis_hooks.py"), directory)
    command = [
        str(SCHEMATHESIS / "bin" / "st"), "--config-file", str(config), "run", f"{api.url}/api/v1/openapi.json",
        "--phases", ",".join(phases), "--max-examples", str(examples), "--seed", str(seed), "--no-color",
        "--report", "json", "--report-json-path", str(directory / REPORT),
        *(["--include-path-regex", paths] if paths else []),
    ]  # fmt: skip
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BOND_", "PYTHON"))},
        "FUZZ_TOKEN": _token(api, role),
        "PYTHONPATH": str(directory),
    }
    ran = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    output = ran.stdout + ran.stderr
    try:
        report: Mapping[str, Any] = json.loads((directory / REPORT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise FuzzError(output) from None
    links = re.search(r"API Links: +(\d+) covered / (\d+) selected", output)
    followed = f"{links[1]} of {links[2]}" if links else ""
    cases = report["test_cases"]["generated"]
    return Outcome(role, cases, followed, tuple(_findings(report)), output, ran.returncode)


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    for failure in report["failures"]:
        yield f"{failure['title']}: {', '.join(failure['operations'])}"
    for error in report["errors"]:
        yield f"error: {json.dumps(error)[:300]}"


def _token(api: ApiProcess, role: str) -> str:
    """A new API token with one role."""
    grant = f"{role}:dba" if role == APPROVER else role
    name = f"fuzz-{role}"
    with httpx2.Client(base_url=f"{api.url}/api/v1", headers=api.bearer, trust_env=False, timeout=60) as client:
        client.delete(f"/tokens/{name}")
        answer = client.post("/tokens", json={"name": name, "grants": [{"roles": [grant], "scope": "everything"}]})
    answer.raise_for_status()
    return str(answer.json()["token"])


def main() -> int:
    """Ask as every role, or those named; 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", action="append", choices=ROLES, help="only this one; may be repeated")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="random requests for each address and role")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default=",".join(PHASES), help="parted by commas (default: all)")
    parser.add_argument("--keep", type=Path, help="a folder for the reports; default: none are kept")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="bond-fuzz-") as scratch:
        reports = options.keep or Path(scratch) / "reports"
        for role in options.role or ROLES:
            # A platform for each: an administrator decommissions the service in the end.
            home = Path(scratch) / role
            home.mkdir()
            with running(home / "data") as platform:
                platform.bond("promise", "publish", str(PROMISE))
                with ApiProcess(platform, stream_seconds=STREAM_SECONDS) as api:
                    prepare(api)
                    outcome = fuzz(
                        api, role, reports.absolute() / role, phases=options.phases.split(","),
                        examples=options.examples, seed=options.seed,
                    )  # fmt: skip
            links = f", {outcome.links} links followed" if outcome.links else ""
            print(f"{role}: {outcome.cases} requests{links}, {len(outcome.findings)} findings", flush=True)
            if outcome.status or outcome.findings:
                wrong += 1
                print(outcome.output, flush=True)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
