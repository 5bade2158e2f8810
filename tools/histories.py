"""Record the histories that every later version must replay.

python -m tools.histories record      run tests/workflows on a real server and keep what is new of their histories

They go to `tests/replay/<version>/`, one file a workflow run, and `tests/replay/test_replay.py` replays all of
them in CI. Until a version is released its histories may be recorded anew; afterwards they stay as they are, and
a change that breaks one is versioned (`workflow.patched`), not forced.

As a pytest plugin (`-p tools.histories --record-histories DIR`) this module does the recording itself: the tests
are the scenarios. Of runs that went the same way, event by event, only the first is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.client import Client, WorkflowHistory

from bondstone import __version__
from bondstone.temporal.payloads import DATA_CONVERTER

ROOT: Final = Path(__file__).parent.parent
REPLAY: Final = ROOT / "tests" / "replay"
MAX_BYTES: Final = 100 * 1024
"""A larger history shows nothing that a smaller one does not."""

_NAMED_BY: Final = ("activityType", "workflowType", "signalName")


def main(arguments: list[str]) -> int:
    """Record; the exit code."""
    if arguments != ["record"]:
        print(__doc__)
        return 2
    if _git("tag", "--list", f"v{__version__}"):
        print(f"{__version__} is released: its histories stay as they are", file=sys.stderr)
        return 1
    directory = REPLAY / __version__
    recorded = directory.with_suffix(".new")
    shutil.rmtree(recorded, ignore_errors=True)
    recorded.mkdir(parents=True)
    plugin = ["-p", "tools.histories", f"--record-histories={recorded}"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *plugin]
    ran = subprocess.run([*command, str(ROOT / "tests" / "workflows")], cwd=ROOT, check=False)
    if ran.returncode:
        shutil.rmtree(recorded)
        print("nothing was recorded: the tests must pass first", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    recorded.replace(directory)
    files = list(directory.glob("*.json"))
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} histories, {size // 1024} KiB, in {directory.relative_to(ROOT)}")
    return 0


def _git(*arguments: str) -> str:
    completed = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return completed.stdout.strip()


# The plugin -------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to."""
    parser.addoption("--record-histories", metavar="DIR", help="keep the histories of the workflow tests there")


@pytest.fixture(scope="session", autouse=True)
def recorded_histories(request: pytest.FixtureRequest, temporal_address: str) -> Iterator[dict[str, str]]:
    """Workflow id to the test that made it; once all have run, their histories are fetched."""
    tests: dict[str, str] = {}
    yield tests
    asyncio.run(_record(temporal_address, tests, Path(request.config.getoption("--record-histories"))))


@pytest.fixture(autouse=True)
def noted(
    request: pytest.FixtureRequest, recorded_histories: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes which services and campaigns a test makes, unless their services are stand-ins."""
    if request.node.get_closest_marker("stand_ins"):
        return
    import fakes  # type: ignore[import-not-found] # noqa: PLC0415 - beside the tests, found only while they run

    made = fakes.Caller.__init__

    def init(caller: Any, *args: Any, **options: Any) -> None:
        made(caller, *args, **options)
        recorded_histories[caller.id] = request.node.name

    starts = Client.start_workflow

    async def start(client: Client, *args: Any, **options: Any) -> Any:
        recorded_histories[options["id"]] = request.node.name
        return await starts(client, *args, **options)

    monkeypatch.setattr(fakes.Caller, "__init__", init)
    monkeypatch.setattr(Client, "start_workflow", start)


async def _record(address: str, tests: dict[str, str], directory: Path) -> None:
    client = await Client.connect(address, data_converter=DATA_CONVERTER)
    await asyncio.sleep(1)  # visibility is a moment behind
    runs = [run async for run in client.list_workflows()]
    digests: set[str] = set()
    numbers: dict[str, int] = {}
    for run in sorted(runs, key=lambda run: run.start_time):
        test = tests.get(run.id.partition("/op/")[0])
        if test is None:
            continue
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        path = "\n".join(_course(history))
        digest = hashlib.sha256(f"{run.workflow_type}\n{path}".encode()).hexdigest()
        document = {"id": run.id, **_anonymous(json.loads(history.to_json()))}
        written = json.dumps(document, separators=(",", ":")) + "\n"
        if digest in digests or len(written) > MAX_BYTES:
            continue
        digests.add(digest)
        name = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower()).strip("-")[:100]
        numbers[name] = numbers.get(name, 0) + 1
        file = directory / f"{name}.{numbers[name]}.{run.workflow_type.lower()}.json"
        file.write_text(written, encoding="utf-8")


def _course(history: WorkflowHistory) -> Iterator[str]:
    """What tells one course of events from another: each event, and the names in it."""
    for event in json.loads(history.to_json())["events"]:
        attributes: dict[str, Any] = next(
            (value for key, value in event.items() if key.endswith("EventAttributes")), {}
        )
        named = [json.dumps(attributes[key]) for key in _NAMED_BY if key in attributes]
        yield " ".join([event["eventType"], *named])


def _anonymous(value: Any) -> Any:
    """Without the machine that it was recorded on: identities, sticky queues named after them, stack traces."""
    if isinstance(value, dict):
        kept = {key: _anonymous(item) for key, item in value.items() if key != "stackTrace"}
        return kept | ({"identity": "recorded"} if "identity" in kept else {})
    if isinstance(value, list):
        return [_anonymous(item) for item in value]
    return re.sub(r"^\d+@.*", "recorded", value) if isinstance(value, str) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
