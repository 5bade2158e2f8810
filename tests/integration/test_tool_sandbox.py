"""What a module that means ill can touch of the platform: a real Terraform runs it, and the kernel refuses.

Each deed is done by a script inside `terraform apply`. Without the sandbox every one of them succeeds, so they are
the right deeds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from terraform_kit import BINARIES, Bench

from bondstone.activities.terraform.workspace import RunDirectory
from bondstone.activities.tooling import landlock
from bondstone.activities.tooling.sandbox import describe
from bondstone.base.errors import SettingsInvalid
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId

pytestmark = pytest.mark.integration

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")

SECRET = "in-the-environment-of-the-worker"
DEEDS = """
    import json, os, pathlib, sys

    targets = json.loads(os.environ["TARGETS"])

    def attempt(deed):
        try:
            return deed()
        except OSError as error:
            return f"refused: {error.strerror}"

    def signalled(pid):
        os.kill(pid, 10)
        return "signalled"

    def written(path):
        with open(path, "a") as file:
            file.write("# changed")
        return "written"

    found = {
        "key ring": attempt(lambda: pathlib.Path(targets["keys"]).read_text()),
        "store": attempt(lambda: sorted(os.listdir(targets["store"]))),
        "environment of the worker": attempt(
            lambda: open(f"/proc/{targets['worker']}/environ", "rb").read().decode("utf-8", "replace")
        ),
        "root of the worker": attempt(lambda: os.listdir(f"/proc/{targets['worker']}/root/")),
        "another run": attempt(lambda: pathlib.Path(targets["run"]).read_text()),
        "another promise": attempt(lambda: pathlib.Path(targets["promise"]).read_text()),
        "change another promise": attempt(lambda: written(targets["promise"])),
        "change its own revision": attempt(lambda: written(targets["own"])),
        "change a provider": attempt(lambda: written(targets["provider"])),
        "change its own attempt record": attempt(lambda: written(targets["record"])),
        "signal the worker": attempt(lambda: signalled(targets["worker"])),
    }
    pathlib.Path(targets["report"]).write_text(json.dumps(found))
"""
MODULE = """
variable "targets" { type = string }
resource "terraform_data" "deeds" {
  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/deeds.py"
    environment = { TARGETS = var.targets }
  }
}
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a worker: its environment is its own, and a signal would be seen."""
    ready = "import signal, sys; signal.signal(10, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", ready], env={"TOKEN": SECRET}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with process:
        yield process
        process.kill()


async def deeds(tmp_path: Path, victim: subprocess.Popen[bytes], mode: str) -> dict[str, object]:
    out = tmp_path / "out"
    bench = await Bench.open(tmp_path, BINARIES[-1], tool_sandbox=mode, tool_writable_paths=(out,))
    out.mkdir(exist_ok=True)
    bench.write(MODULE)
    bench.write(textwrap.dedent(DEEDS), file="deeds.py")
    work = bench.settings.work_dir
    other_run = work / "runs" / "risk" / "other" / "step" / "attempt" / "tree" / "terraform.tfstate"
    other_promise = work / "revisions" / "f00" / "main.tf"
    provider = work / "plugins" / "registry" / "provider"
    for file in (other_run, other_promise, provider):
        file.parent.mkdir(parents=True)
        file.write_text("of another")
    targets = {
        "keys": str(bench.settings.key_file),
        "store": str(bench.settings.data / "objects"),
        "worker": victim.pid,
        "run": str(other_run),
        "promise": str(other_promise),
        "own": str(bench.bundle / "terraform" / "database" / "deeds.py"),
        "provider": str(provider),
        "record": "../../../attempt.json",
        "report": str(out / "report.json"),
    }
    (bench.settings.data / "objects").mkdir(exist_ok=True)
    await bench.provision(targets=json.dumps(targets))
    document: dict[str, object] = json.loads((out / "report.json").read_text())
    return document


@needs_landlock
async def test_a_module_reaches_nothing_of_the_platform(tmp_path: Path, victim: subprocess.Popen[bytes]) -> None:
    result = await deeds(tmp_path, victim, "required")
    assert len(result) == 11
    for deed, outcome in result.items():
        assert str(outcome).startswith("refused: "), f"{deed}: {outcome}"
    assert victim.poll() is None


@needs_landlock
async def test_later_runs_read_the_lock_file_that_init_has_written(tmp_path: Path) -> None:
    """As of a module that uses providers and ships no lock file: every run but the first has a link to it."""
    terraform = shutil.which("terraform") or shutil.which("tofu")
    if terraform is None:
        pytest.skip("no terraform or tofu on PATH")
    tool = tmp_path / "terraform"
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = init ] && echo "# by init" >.terraform.lock.hcl\nexec {terraform} "$@"\n'
    )
    tool.chmod(0o755)
    bench = await Bench.open(tmp_path, str(tool), tool_sandbox="required")
    bench.write('resource "terraform_data" "one" {}\n')
    await bench.provision()
    assert list(bench.settings.work_dir.glob("modules/*/lock.hcl"))
    assert (await bench.plan()).empty


async def test_without_the_sandbox_every_one_of_these_deeds_succeeds(
    tmp_path: Path, victim: subprocess.Popen[bytes]
) -> None:
    result = await deeds(tmp_path, victim, "off")
    for deed, outcome in result.items():
        assert not str(outcome).startswith("refused: "), f"{deed}: {outcome}"
    assert SECRET in str(result["environment of the worker"])
    assert victim.wait(timeout=60) == 7


@needs_landlock
async def test_what_a_module_needs_of_the_machine_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials" / "token"
    credentials.parent.mkdir()
    credentials.write_text("from a file")
    monkeypatch.setenv("POOL_TOKEN_FILE", str(credentials))
    more = tmp_path.parent / f"{tmp_path.name}-more"
    more.mkdir()
    (more / "readable").write_text("more")
    made = tmp_path.parent / f"{tmp_path.name}-services"
    bench = await Bench.open(
        tmp_path,
        BINARIES[-1],
        tool_sandbox="required",
        tool_environment=("POOL_TOKEN_FILE",),
        tool_readable_paths=(more,),
        tool_writable_paths=(made,),
    )
    script = f"""
        set -e
        cat "$POOL_TOKEN_FILE" > {made}/token
        cat {more}/readable > {made}/more
        echo x > "$TMPDIR/mine" && mv "$TMPDIR/mine" ./mine && rm mine
        mktemp > {made}/mktemp
        echo y > /dev/null; head -c 4 /dev/urandom > /dev/null
        cat /etc/hosts > {made}/hosts
        python3 -c 'import socket; socket.getaddrinfo("localhost", 80)'
        python3 -c 'import multiprocessing; multiprocessing.Semaphore()'
        printf '#!/bin/sh\\necho ran' > ./program; chmod +x ./program; ./program > {made}/ran
        sleep 30 & kill $!
    """
    bench.write(f"""
        resource "terraform_data" "needs" {{
          provisioner "local-exec" {{
            command = <<-SCRIPT
{textwrap.indent(textwrap.dedent(script), "              ")}
            SCRIPT
          }}
        }}
    """)
    await bench.provision()
    result = {file.name: file.read_text().strip() for file in made.iterdir()}
    assert (result["token"], result["more"], result["ran"]) == ("from a file", "more", "ran")
    assert result["mktemp"].startswith(str(bench.settings.work_dir / "tmp")) or "bondstone-" in result["mktemp"]
    assert "localhost" in result["hosts"]
    assert bench.left_behind() == []
    assert not list((bench.settings.work_dir / "tmp").glob("*"))


def test_what_a_module_put_in_place_of_its_state_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "bundle" / "m").mkdir(parents=True)
    run = RunDirectory.create(
        tmp_path / "work",
        ServiceId(team="a", name="b"),
        "s",
        attempt="1",
        verb="apply",
        bundle=tmp_path / "bundle",
        module="m",
    )
    state = json.dumps({"version": 4, "serial": 99, "lineage": "x", "resources": [], "outputs": {}}).encode()
    run.write_state(state)
    assert run.newest_state() is not None
    other = tmp_path / "other"
    other.mkdir()
    (other / "terraform.tfstate").write_bytes(state)
    run.state_file.unlink()
    run.state_file.symlink_to(other / "terraform.tfstate")
    assert run.newest_state() is None
    run.state_file.unlink()
    os.mkfifo(run.state_file)
    assert run.newest_state() is None
    shutil.rmtree(run.module)
    run.module.symlink_to(other)
    assert run.newest_state() is None
    run.close()
    assert (other / "terraform.tfstate").exists()


def test_a_worker_says_which_sandbox_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Settings(data=tmp_path, tool_sandbox="auto")  # tests run with it off
    assert describe(on).startswith("Landlock " if landlock.abi() else "none (this kernel")
    assert describe(Settings(data=tmp_path, tool_sandbox="off")) == "none (tool_sandbox is off)"
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert describe(on) == "none (this kernel has no Landlock)"


async def test_a_worker_that_must_have_a_sandbox_refuses_to_work_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    bench = await Bench.open(tmp_path, BINARIES[-1], tool_sandbox="required")
    bench.write('output "x" { value = 1 }')
    with pytest.raises(SettingsInvalid, match="no Landlock"):
        await bench.plan()


def test_the_signal_of_the_test_is_the_one_it_means() -> None:
    assert signal.SIGUSR1 == 10
    assert os.name == "posix"
