"""Builds the two images and does the main job in them: services provisioned by workers in containers.

    python -m harness.images                                        docker, base images from their registries
    python -m harness.images --engine "podman --storage-driver=vfs" --no-registry

With `--no-registry`, where an engine reaches no registry of images, the base images are stood in for: Python's by
Debian's (`debootstrap`), those of Terraform and Go by the programs on this machine. What they prove then is the
Dockerfile and the compose file, not somebody else's base image.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus
from harness.compose import Compose, read_variables
from harness.local_platform import publish
from harness.pinned import ROOT
from harness.servers import composed
from harness.servers.composed import Composed
from harness.servers.contained import USER, Engine

COMPOSE_SECRETS: Final = ROOT / "tools" / "compose_secrets.py"
PROMISE: Final = "sqlite-database"
INPUTS: Final = {"contact": "images@example.org"}
SERVICES: Final = 4
SECONDS: Final = 180
"""For all services; a machine that has just built images is busy."""

_PACKAGES: Final = "python3,python3-venv,python3-pip,python-is-python3,ca-certificates"


class CheckFailed(Exception):
    """A container is not as it is meant to be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, run, look, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="docker", help="the container engine, with its global options")
    parser.add_argument("--build", default="", help="more options for its build command")
    parser.add_argument("--no-registry", action="store_true", help="make stand-ins for the base images")
    parser.add_argument("--terraform", default="terraform", help="with --no-registry: the Terraform or OpenTofu")
    parser.add_argument("--built", action="store_true", help="the images are there already")
    options = parser.parse_args(arguments)
    engine = Engine(tuple(shlex.split(options.engine)))
    if not options.built:
        bases = _stand_ins(engine, options.terraform) if options.no_registry else []
        for target in ("worker", "executor"):
            tag = f"bondstone-{target}:local"
            engine.build(ROOT, f"--target={target}", f"--tag={tag}", *shlex.split(options.build), *bases)
    with _running(engine) as platform:
        for instance in ("control-1", "control-2", "executor", "codec"):
            _say(f"{instance}: {_locked_up(engine, platform.container(instance))}")
        asyncio.run(_main_job(platform))
        _say(_drained(platform, "executor"))
    return 0


@contextmanager
def _running(engine: Engine) -> Iterator[Composed]:
    directory = Path(tempfile.mkdtemp(prefix="bond-images-"))
    directory.chmod(0o711)
    try:
        secrets = directory / ".env"
        subprocess.run([sys.executable, "-I", COMPOSE_SECRETS, str(secrets)], check=True)
        compose = Compose.read(ROOT / "docker-compose.yml", read_variables(secrets))
        with composed.running(directory, compose, scale={"control": 2}, engine=engine) as platform:
            yield platform
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _locked_up(engine: Engine, container: str) -> str:
    """What process 1 of a container may do, in words.

    Raises:
        CheckFailed: more than it is meant to.
    """
    status = engine.inside(container, "cat", "/proc/1/status").stdout
    limits = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = {"Uid": "\t".join([str(USER)] * 4), "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
    wrong = [f"{name} is {limits[name]}, not {value}" for name, value in wanted.items() if limits[name] != value]
    paths = ("/bond", "/opt/bondstone/bond", "/var/lib/bondstone/keys/bond")
    wrong += [f"{path} can be written" for path in paths if not engine.inside(container, "touch", path).returncode]
    if engine.inside(container, "python", "-m", "pip", "--version").returncode == 0:
        wrong.append("pip is there")
    if wrong:
        raise CheckFailed(f"{container}: {'; '.join(wrong)}")
    return f"user {USER}, no capabilities, no new privileges, root and keys read-only, no pip"


async def _main_job(platform: Composed) -> None:
    environment = platform.environment(platform.compose.services["bond"], "bond")
    os.environ.update(environment)
    async with DirectClient.connect(Settings.load(), by="images") as bond, asyncio.timeout(SECONDS):
        await publish(bond, ROOT / "promises" / PROMISE)
        names = [f"payments/orders-{n}" for n in range(SERVICES)]
        operations = [await bond.services.request(PROMISE, name, INPUTS) for name in names]
        operations.append(await bond.services.decommission(names[0]))
        for operation in operations:
            record = await operation.wait()
            if record.status is not OperationStatus.SUCCEEDED:
                raise CheckFailed(f"{operation.id}: {record.error}")
        _say(f"{SERVICES} services of {PROMISE} provisioned, one of them decommissioned")


def _drained(platform: Composed, instance: str) -> str:
    """Ask a worker to stop, as an engine does.

    Raises:
        CheckFailed: it had to be killed, or complains.
    """
    process = platform.servers[instance].process
    if process is None:
        raise CheckFailed(f"{instance} does not run")
    process.terminate()
    code = process.wait(120)
    if code:
        raise CheckFailed(f"{instance} ended with {code}: {platform.servers[instance].tail()}")
    return f"{instance}: stopped in order when asked to"


def _stand_ins(engine: Engine, terraform: str) -> list[str]:
    """Base images of what this machine has; the build's arguments that name them."""
    with tempfile.TemporaryDirectory(prefix="bond-bases-") as temporary:
        root = Path(temporary, "python")
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)], check=True
        )
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        packed = Path(temporary, "python.tar")
        subprocess.run(["tar", "--directory", str(root), "--create", "--file", str(packed), "."], check=True)
        subprocess.run([*engine.program, "import", str(packed), "bondstone-base-python:local"], check=True)
        tools = Path(temporary, "tools")
        (tools / "bin").mkdir(parents=True)
        shutil.copy(shutil.which(terraform) or terraform, tools / "bin/terraform")
        goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
        shutil.copytree(goroot, tools / "go", symlinks=True)
        (tools / "Dockerfile").write_text("FROM scratch\nCOPY bin /bin\nCOPY go /usr/local/go\n")
        engine.build(tools, "--tag=bondstone-base-tools:local")
    python, others = "bondstone-base-python:local", "bondstone-base-tools:local"
    named = {"PYTHON_IMAGE": python, "TERRAFORM_IMAGE": others, "GO_IMAGE": others}
    return [f"--build-arg={name}=localhost/{image}" for name, image in named.items()]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
