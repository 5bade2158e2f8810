"""Time and memory of one policy check, of a plan of 200 resources: `python -m benchmarks.policies`.

Every engine that there is, one after another in the same run: OPA where `make tools` built it, and regorus.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import time
from pathlib import Path
from typing import Any, Final

import psutil

from bondstone.policy import evaluate, load_modules
from bondstone.rego.choice import EMBEDDED, engine
from harness.pinned import ToolMissing, find

RESOURCES: Final = 200
CHECKS: Final = 15
PROMISES: Final = Path(__file__).resolve().parents[1] / "promises"


def main() -> None:
    """Print a line for each engine."""
    modules = [
        *load_modules(PROMISES / "_organisation"),
        *load_modules(PROMISES / "sqlite-database" / "policies", "promise"),
    ]
    plan_document = document()
    print(
        f"{RESOURCES} resources, {len(json.dumps(plan_document)) // 1024} KiB of document, {len(modules)} modules"
    )
    for name in (EMBEDDED, "opa"):
        try:
            os.environ["BOND_OPA"] = name if name == EMBEDDED else str(find("opa"))
        except ToolMissing as error:
            print(error)
            continue
        times = []
        for _ in range(CHECKS):
            began = time.perf_counter()
            decision = evaluate(modules, plan_document)
            times.append((time.perf_counter() - began) * 1000)
            if decision.outcome != "allow":
                raise SystemExit(f"{decision.findings[0].message}")
        children = [child.memory_info().rss for child in psutil.Process().children()]
        largest = max(children, default=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
        print(
            f"{engine().version}: first {times[0]:.0f} ms, median {statistics.median(times[1:]):.0f} ms,"
            f" fastest {min(times):.0f} ms, child {largest // 1024**2} MiB"
        )
        engine().close()


def document() -> dict[str, Any]:
    """What policies see of a plan that creates databases."""
    planned = [
        {
            "address": f"module.db.aws_db_instance.main[{index}]",
            "mode": "managed",
            "type": "aws_db_instance",
            "change": {
                "actions": ["create"],
                "before": None,
                "after": {
                    "name": f"db-{index}",
                    "size": index * 10,
                    "tags": {"owner": "payments"},
                    "ports": [5432],
                },
                "after_unknown": {"id": True, "arn": True},
            },
        }
        for index in range(RESOURCES)
    ]
    return {
        "service": {"team": "payments", "name": "orders", "labels": {"environment": "production", "tier": "gold"}},
        "promise": {"name": "db", "version": "1.0.0", "digest": "d"},
        "operation": {"number": 1, "kind": "provision", "requested_by": "ada", "destroy": False},
        "inputs": {"size": "medium", "journal": "wal", "starter": "shop"},
        "step": {"id": "database", "executor": "terraform"},
        "plan": {"format_version": "1.2", "resource_changes": planned},
        "changes": [{"address": item["address"], "action": "create", "type": item["type"]} for item in planned],
        "previous": None,
    }


if __name__ == "__main__":
    main()
