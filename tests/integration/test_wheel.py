"""The wheel beside an application that has `workflows` and `activities` of its own: both are run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from pathlib import Path

import pytest
from temporalio.client import Client

import bondstone

ROOT = Path(bondstone.__file__).parents[1]

APPLICATION = {
    "activities.py": """
        from temporalio import activity

        @activity.defn
        async def greet(name: str) -> str:
            return f"Hello, {name}"
        """,
    "workflows/__init__.py": """
        from datetime import timedelta
        from temporalio import workflow
        import activities

        @workflow.defn
        class Greeting:
            @workflow.run
            async def run(self, name: str) -> str:
                return await workflow.execute_activity(
                    activities.greet, name, start_to_close_timeout=timedelta(seconds=10)
                )
        """,
    "main.py": """
        import asyncio, os, sys
        import activities, workflows
        import bondstone.activities.control, bondstone.promises, bondstone.workflows.served
        from bondstone.temporal.payloads import DATA_CONVERTER
        from temporalio.client import Client
        from temporalio.worker import UnsandboxedWorkflowRunner, Worker

        async def main(address, queue):
            client = await Client.connect(address, data_converter=DATA_CONVERTER)
            other = Worker(client, task_queue=queue, workflows=[workflows.Greeting], activities=[activities.greet])
            platform = Worker(
                client, task_queue=f"{queue}-platform", workflows=bondstone.workflows.served.ALL,
                workflow_runner=UnsandboxedWorkflowRunner(),
            )
            async with other, platform:
                print(await client.execute_workflow("Greeting", "Ada", id=queue, task_queue=queue))
            print(bondstone.__file__, bondstone.workflows.__file__, len(bondstone.promises.catalogue()))

        asyncio.run(main(*sys.argv[1:]))
        sys.stdout.flush()
        os._exit(0)  # threads of the SDK's core may crash an interpreter that finalizes
        """,
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        check=True, capture_output=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory) -> Path:
    """The wheel, installed where this repository is not on the path."""
    directory = tmp_path_factory.mktemp("site")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--target", directory, wheel],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return directory


def run(site: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python with the wheel and its dependencies; `-S` leaves out the link to this repository."""
    path = f"{cwd}:{site}:{sysconfig.get_path('purelib')}"
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        cwd=cwd, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_wheel_brings_one_package_and_no_name_that_applications_use(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"bondstone"}
    for name in ("workflows/operations.py", "activities/executors.py", "workers/control.py", "py.typed"):
        assert f"bondstone/{name}" in names
    assert any(name.startswith("bondstone/promises/") and name.endswith("promise.yaml") for name in names)


async def test_an_application_with_folders_of_the_same_names_runs_beside_it(site, tmp_path, temporal: Client):
    for name, content in APPLICATION.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(content))
    ran = await asyncio.to_thread(
        run, site, "main.py", temporal.service_client.config.target_host, "wheel", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    greeting, places = ran.stdout.splitlines()
    assert greeting == "Hello, Ada"
    package, workflows, promises = places.split()
    assert package == f"{site}/bondstone/__init__.py"
    assert workflows == f"{site}/bondstone/workflows/__init__.py"
    assert int(promises) > 0


def test_the_command_of_the_wheel_runs(site, tmp_path):
    promise = site / "bondstone/promises/queue"
    ran = run(site, "-m", "bondstone.cli.app", "promise", "validate", promise, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
