"""What the sandbox of tools and the digest check of a revision add to a terraform step.

The step is what the activities do of it: the revision is compared with its bundle, then plan (`terraform plan` and
`terraform show`) and apply (`terraform apply`), for a module without providers. With and without the sandbox in
turns, so that both meet the same machine.

    python -m benchmarks.sandbox
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bondstone.activities.terraform import TerraformExecutor
from bondstone.activities.terraform.section import TerraformSection
from bondstone.activities.tooling import landlock
from bondstone.activities.tooling.launch import launch
from bondstone.activities.tooling.sandbox import Sandbox, describe, sandbox
from bondstone.base import logs
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.promise.bundle import folder_digest, folder_stamp, pack, unpack
from bondstone.store import Store

ROUNDS = 15
STARTS = 60
MODULE = 'variable "n" {}\nresource "terraform_data" "it" { input = var.n }\noutput "n" { value = var.n }\n'
PROMISE = Path(__file__).parents[1] / "promises" / "web-app"


async def steps(root: Path) -> dict[str, list[float]]:
    """Seconds of each step, with the sandbox and without."""
    bundle = root / "bundle"
    (bundle / "m").mkdir(parents=True)
    (bundle / "m" / "main.tf").write_text(MODULE, encoding="utf-8")
    durations: dict[str, list[float]] = {"off": [], "auto": []}
    worlds = {}
    for mode in ("off", "auto"):
        settings = Settings.load(data=root / mode, tool_sandbox=mode)
        worlds[mode] = settings, await Store.open(settings, create_keys=True), TerraformExecutor()
    for number in range(ROUNDS + 1):
        for mode, (settings, store, executor) in worlds.items():
            started = time.monotonic()
            planned = await executor.plan(context((settings, store), bundle, f"plan-{number}", number))
            applying = context((settings, store), bundle, f"apply-{number}", number)
            await executor.apply(applying, planned.artefact, planned.position)
            durations[mode].append(time.monotonic() - started)
    return {mode: seconds[1:] for mode, seconds in durations.items()}  # the first prepares the module


def context(world: tuple[Settings, Store], bundle: Path, attempt: str, number: int) -> StepContext:
    """What the activities would hand to the executor."""
    settings, store = world
    service = ServiceId(team="bench", name=f"s{number}")
    return StepContext(
        service=service,
        operation=1,
        step="it",
        section=TerraformSection(module="m", variables={"n": number}),
        bundle=bundle,
        revision_digest="digest",
        state=store.state(service, "it"),
        settings=settings,
        attempt=attempt,
        heartbeat=lambda _progress: None,
        log=lambda _line: None,
    )


async def starts(box: Sandbox | None, directory: Path) -> float:
    """Seconds of starting and ending one process that does nothing; the median."""
    durations = []
    with (directory / "null").open("wb") as out:
        for _ in range(STARTS):
            started = time.monotonic()
            process = await launch(
                ["/bin/true"], directory=directory, environment={}, stdin=0, stdout=out, stderr=out, sandbox=box
            )
            await process.ended
            durations.append(time.monotonic() - started)
    return statistics.median(durations)


def compared(call: Callable[[Path], object], folder: Path) -> float:
    """Milliseconds of comparing an unpacked revision with its bundle; the median."""
    durations = []
    for _ in range(ROUNDS):
        started = time.monotonic()
        call(folder)
        durations.append(time.monotonic() - started)
    return statistics.median(durations) * 1000


async def main() -> int:
    """Print what is added."""
    logs.configure(Settings.load(log_level="warning"))
    if not landlock.abi():
        print("this kernel has no Landlock: nothing to measure")
        return 1
    with tempfile.TemporaryDirectory(prefix="bond-bench-") as temporary:
        root = Path(temporary)
        unpack(pack(PROMISE).data, root / "promise")
        large = root / "source"
        for number in range(1000):
            file = large / f"d{number % 20}" / f"f{number}.tf"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes([number % 251]) * 8192)
        unpack(pack(large).data, root / "large")
        settings = Settings.load(data=root / "auto", tool_sandbox="auto")
        began = time.monotonic()
        box = sandbox(settings, {}, writable=(root,))
        made = time.monotonic() - began
        began = time.monotonic()
        sandbox(settings, {}, writable=(root,))
        again = time.monotonic() - began
        plain, boxed = await starts(None, root), await starts(box, root)
        checks = [
            f"{compared(call, root / name):6.1f} ms"
            for name in ("promise", "large")
            for call in (folder_digest, folder_stamp)
        ]
        measured = await steps(root)
    off, on = (statistics.median(measured[mode]) for mode in ("off", "auto"))
    least = min(measured["auto"]) - min(measured["off"])
    print(f"sandbox of this machine                     {describe(settings)}")
    print(f"choosing what may be touched, and again     {made * 1000:6.1f} ms {again * 1000:6.1f} ms")
    print(f"start of a process, plain and in it         {plain * 1000:6.1f} ms {boxed * 1000:6.1f} ms")
    print(f"revision check, promises/web-app            {checks[0]} first, {checks[1]} then")
    print(f"revision check, 1,000 files of 8 MiB        {checks[2]} first, {checks[3]} then")
    print(f"terraform step (plan, show, apply), plain   {off * 1000:6.0f} ms")
    print(f"the same in the sandbox                     {on * 1000:6.0f} ms")
    print(f"difference of the medians, of the least     {(on - off) * 1000:+6.0f} ms {least * 1000:+6.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
