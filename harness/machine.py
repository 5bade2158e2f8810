"""The machine that something is measured on, in one line and as data."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bondstone import __version__


def machine() -> dict[str, Any]:
    """What it was measured on, and how busy that was with other things."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "bondstone": __version__,
        "load_before": LOAD_BEFORE,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe(machine: dict[str, Any]) -> str:
    """A machine in one line."""
    return (
        f"{machine['at'][:16]}: {machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']:g} GiB, "
        f"Python {machine['python']}, load before {machine['load_before']:.1f}"
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


LOAD_BEFORE = os.getloadavg()[0]
