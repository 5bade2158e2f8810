"""In which order the processes of pytest-xdist get the test files: long ones first, and servers where they run.

A long file that is begun last keeps the whole run waiting for one process, so the longest come first. A file that
needs a server (a Kubernetes control plane, a production Temporal) goes to a process that has started it. While
other work is left, no second process starts one for it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

SECONDS: Final[Mapping[str, int]] = {
    "tests/backstage/test_stock_backstage.py": 200,
    "tests/integration/test_every_executor.py": 130,
    "tests/browser/test_console.py": 114,
    "tests/integration/test_ansible_executor.py": 64,
    "tests/integration/test_parts.py": 56,
    "tests/integration/test_up.py": 55,
    "tests/integration/test_helm_interrupted.py": 53,
    "tests/integration/test_canaries_everywhere.py": 49,
    "tests/integration/test_cli_demo_campaign.py": 46,
    "tests/integration/test_container_jobs.py": 46,
    "tests/integration/test_required_mode.py": 45,
    "tests/integration/test_helm_apply.py": 45,
    "tests/integration/test_jobs_as_executor.py": 43,
    "tests/integration/test_builds.py": 41,
    "tests/integration/test_cli_demo.py": 32,
    "tests/integration/test_cli_daily.py": 31,
    "tests/integration/test_cli_day_two.py": 30,
    "tests/integration/test_approval_survives.py": 27,
    "tests/integration/test_kills.py": 27,
    "tests/integration/test_catalogue.py": 26,
    "tests/integration/test_compose.py": 26,
    "tests/integration/test_backup.py": 25,
    "tests/integration/test_copies.py": 23,
    "tests/integration/test_cli_services.py": 20,
    "tests/chaos/test_chaos.py": 20,
    "tests/browser/test_sign_in.py": 19,
    "tests/integration/test_readme_tour.py": 18,
    "tests/integration/test_kubernetes_lifecycle.py": 18,
    "tests/integration/test_traces.py": 18,
    "tests/integration/test_helm_chart.py": 17,
    "tests/integration/test_canaries.py": 17,
    "tests/integration/test_api.py": 17,
    "tests/workflows/test_campaign_verbs.py": 16,
    "tests/integration/test_care.py": 16,
    "tests/integration/test_transports.py": 16,
    "tests/integration/test_adopt.py": 15,
    "tests/integration/test_attacks.py": 15,
    "tests/integration/test_crossplane.py": 15,
    "tests/workflows/test_changes.py": 15,
    "tests/integration/test_apply.py": 14,
    "tests/integration/test_terraform_apply.py": 14,
    "tests/integration/test_cli_campaign.py": 13,
    "tests/unit/test_leftovers.py": 13,
    "tests/browser/test_ten_thousand_services.py": 13,
    "tests/integration/test_sealed_payloads.py": 12,
    "tests/integration/test_helm_lifecycle.py": 12,
    "tests/workflows/test_campaign.py": 12,
    "tests/workflows/test_campaign_fleet.py": 12,
    "tests/chaos/test_chaos_campaign.py": 12,
    "tests/integration/test_terraform_interrupted.py": 11,
    "tests/workflows/test_campaign_control.py": 10,
    "tests/integration/test_real_postgres_temporal.py": 10,
    "tests/integration/test_kratix.py": 10,
}
"""About how much CPU time the longest files take; the others follow in the order of the test paths."""

SERVERS: Final = ("control_plane", "containers", "hosts", "postgres", "production_temporal", "s3", "platform")
"""Session fixtures that a process starts once, and that cost more than waiting for the process that has it."""

_TAKES: Final = re.compile(
    r"""(?: \bdef\ test_\w+ | @pytest\.fixture[^\n]*\n(?:async\ )?def\ \w+ | getfixturevalue )\(([^)]*)\)""",
    re.VERBOSE,
)
"""The parameters of tests and fixtures, and what a fixture looks up by its name."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Order the files, where whole files are distributed."""
    return LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


class LongestFirst(LoadFileScheduling):  # type: ignore[misc] # it has no types
    """As its base, in another order."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._root = config.rootpath
        self._started: defaultdict[WorkerController, set[str]] = defaultdict(set)
        self._ordered = False

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._ordered:
            for file in ordered(list(self.workqueue)):
                self.workqueue.move_to_end(file)
            self._ordered = True
        needs = {file: servers(self._root / file) for file in self.workqueue}
        others = set().union(*(started for each, started in self._started.items() if each is not node))
        file = chosen(needs, self._started[node], others)
        self._started[node] |= needs[file]
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)


def ordered(files: Sequence[str]) -> list[str]:
    """Longest first; those of which nothing is known keep their order behind them."""
    return sorted(files, key=lambda file: -SECONDS.get(file, 0))


def chosen(needs: Mapping[str, frozenset[str]], running: set[str], others: set[str]) -> str:
    """The next file for a process: the first for which it need not start what another process has started.

    Args:
        needs: The files that are left, in order, and the servers of each.
        running: Servers that this process has started.
        others: Servers that other processes have started.
    """
    return next(
        (file for file, servers_of in needs.items() if not servers_of & (others - running)), next(iter(needs))
    )


def servers(file: Path) -> frozenset[str]:
    """The servers that a file of tests names as its fixtures."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    parameters = " ".join(re.findall(_TAKES, text))
    defined = set(re.findall(r"\bdef (\w+)\((?!\1\b)", text))  # one that takes itself takes the session's
    return frozenset(name for name in SERVERS if name not in defined and re.search(rf"\b{name}\b", parameters))
