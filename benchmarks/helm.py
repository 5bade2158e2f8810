"""What a helm step costs beyond plain `helm upgrade --install --wait`: the same chart, cluster and run.

The step is what the activities do of it: plan, then apply of that plan; an update of one value each time.

    python -m benchmarks.helm
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.section import HelmSection
from bondstone.base.cluster_settings import ClusterSettings
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.pinned import ToolMissing, find
from harness.servers.kubernetes import ControlPlane, running

ROUNDS = 8
CHART = Path(__file__).parents[1] / "promises" / "web-app"


async def measure(plane: ControlPlane, root: Path, helm: str) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each plain upgrade, each plan and each apply."""
    settings = Settings(
        data=root / "data", helm=helm, clusters={"default": ClusterSettings(kubeconfig=plane.kubeconfig)}
    )
    store = await Store.open(settings, create_keys=True)
    executor = HelmExecutor()
    plain: list[float] = []
    plans: list[float] = []
    applies: list[float] = []
    for number in range(ROUNDS + 1):
        values = {"image": f"example/shop:1.{number}", "clientId": "bench", "apiKey": "k" * 20, "replicas": 1}
        plain.append(await upgrade(plane, helm, values))
        started = time.monotonic()
        planned = await executor.plan(context(store, settings, values, f"plan-{number}"))
        plans.append(time.monotonic() - started)
        started = time.monotonic()
        await executor.apply(
            context(store, settings, values, f"apply-{number}"), planned.artefact, planned.position
        )
        applies.append(time.monotonic() - started)
    return plain[1:], plans[1:], applies[1:]  # the first is an install, and imports the client


async def upgrade(plane: ControlPlane, helm: str, values: dict[str, object]) -> float:
    """A plain upgrade; its seconds."""
    options = [f"--set={key}={value}" for key, value in values.items()]
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(
            helm,
            "upgrade",
            "plain",
            str(CHART / "chart"),
            "--install",
            "--wait",
            "--namespace",
            "default",
            *options,
        ),
        env={**os.environ, **plane.environment},
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise SystemExit("plain helm failed")
    return time.monotonic() - started


def context(store: Store, settings: Settings, values: dict[str, object], attempt: str) -> StepContext:
    """What an activity hands to the executor."""
    section = {"chart": "chart", "namespace": "default", "release": "step", "values": values}
    return StepContext(
        service=ServiceId(team="bench", name="step"),
        operation=1,
        step="app",
        section=HelmSection.model_validate(section),
        bundle=CHART,
        revision_digest="bench",
        state=store.state(ServiceId(team="bench", name="step"), "app"),
        settings=settings,
        attempt=attempt,
        heartbeat=lambda _progress: None,
        log=lambda _line: None,
    )


def main() -> int:
    """Print the figures."""
    try:
        helm = str(find("helm"))
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as plane:
            plain, plans, applies = asyncio.run(measure(plane, Path(folder), helm))
    except ToolMissing as error:
        print(error)
        return 1
    base, plan, apply = (statistics.median(each) for each in (plain, plans, applies))
    print(f"helm upgrade --install --wait   {base:6.2f} s (median of {len(plain)})")
    print(f"the step's plan                 {plan:6.2f} s")
    print(f"the step's apply                {apply:6.2f} s")
    print(f"beyond plain Helm               {plan + apply - base:6.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
