"""`bond apply` of a folder of manifests: all new, none changed, one changed elsewhere, one broken, one left out.

The services are of a promise whose only step is left out by its `when`, so that what is measured is not a tool.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import Report, parser, run, say
from harness import processes

AIM_SECONDS = 5.0
REPO = "repo=bench"
_SPEC = """\
  inputs:
    type: object
    required: [owner]
    properties:
      owner: {type: string}
      size: {enum: [small, medium, large], default: small}
  steps:
    - id: none
      when: false
      terraform: {module: terraform}
"""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("applying")
    with processes.scratch() as directory, processes.bond_up(directory / "data") as (platform, _):
        module = {"terraform/main.tf": 'resource "terraform_data" "it" {}\n'}
        promise = processes.write_promise(directory / "record", "record", module, _SPEC)
        await processes.publish(platform.settings, promise)
        folder = directory / "services"
        folder.mkdir()
        for number in range(options.manifests):
            _write(folder, number, size="small")

        seconds, answer = _apply(platform, folder, "--wait")
        _expect(answer, {"create": options.manifests})
        report.add(f"{options.manifests} new services, to the last ready", "s", seconds)

        for name, environment in (("over HTTP", {}), ("over Temporal", {"BOND_API": ""})):
            walls, spent = [], []
            for _ in range(options.runs):
                before = _cpu_seconds()
                seconds, answer = _apply(platform, folder, environment=environment)
                spent.append(_cpu_seconds() - before)
                _expect(answer, {"unchanged": options.manifests})
                walls.append(seconds)
                say(f"{name}: {seconds:.2f} s")
            report.add(f"{options.manifests} manifests, none changed, {name}", "s", *walls, at_most=AIM_SECONDS)
            report.add("  CPU of the command itself", "CPU-s", *spent)

        platform.bond("service", "update", "bench/s0", "--set", "size=large", "--wait")
        _write(folder, 0, size="medium")
        _, answer = _apply(platform, folder, status=4)
        _expect(answer, {"conflict": 1, "unchanged": options.manifests - 1})

        broken = folder / "broken.yaml"
        broken.write_text("apiVersion: bondstone.dev/v1\nkind: Service\nmetadata: {taem: bench}\n")
        seconds, answer = _apply(platform, folder, status=2)
        report.add("one of them broken: until the refusal", "s", seconds)
        broken.unlink()

        (folder / "1.yaml").unlink()
        seconds, answer = _apply(platform, folder, "--prune", "--selector", REPO, "--yes", "--overwrite", "--wait")
        _expect(answer, {"change": 1, "prune": 1, "unchanged": options.manifests - 2})
        report.add("one overwritten, one pruned, to the end", "s", seconds)
    return report


def _write(folder: Path, number: int, *, size: str) -> None:
    name, _, value = REPO.partition("=")
    manifest = {
        "apiVersion": "bondstone.dev/v1",
        "kind": "Service",
        "metadata": {"team": "bench", "name": f"s{number}", "labels": {name: value}},
        "spec": {"promise": "record", "version": "1.0.0", "inputs": {"owner": "ada", "size": size}},
    }
    (folder / f"{number}.yaml").write_text(json.dumps(manifest))


def _apply(
    platform: processes.Platform,
    folder: Path,
    *options: str,
    status: int = 0,
    environment: Mapping[str, str] | None = None,
) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    done = subprocess.run(
        [processes.BOND, "apply", "-f", str(folder), "-o", "json", *options],
        env={**platform.environment, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode != status:
        raise RuntimeError(f"bond apply ended with {done.returncode}, not {status}:\n{done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout or "{}")


def _cpu_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _expect(answer: dict[str, Any], counts: dict[str, int]) -> None:
    if answer["counts"] != counts:
        raise RuntimeError(f"expected {counts}, and it was {answer['counts']}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--manifests", type=int, default=200, help="how many (default: %(default)s)")
    options.add_argument("--runs", type=int, default=3, help="runs that count (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
