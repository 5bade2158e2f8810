"""Everything works with only the `temporal` CLI: the commands of the how-to are run, and must say what it says."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from platforms import LocalPlatform, publish, running

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/with-only-the-temporal-cli.md"
NOT_YET_SECONDS = 120
"""An operation starts a moment after its request was accepted, and lists are a moment behind."""

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Shown:
    """A command of the page, and what the page says that it prints."""

    command: str
    output: str

    @property
    def only_looks(self) -> bool:
        """Whether it may be run again and again."""
        return re.match(r"temporal workflow (result|metadata|query|list|count) ", self.command) is not None

    def matches(self, text: str) -> bool:
        """Whether it says that, but for white space, ages, and what the page leaves out."""
        parts = [re.escape(_plain(part)) for part in self.output.split("…")]
        return re.fullmatch(".*".join(parts), _plain(text), re.DOTALL) is not None


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def shown(page: str) -> Iterator[Shown]:
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, output = [], part.splitlines()
            while output:
                command.append(output.pop(0))
                if _is_whole("\n".join(command)):
                    break
            yield Shown("\n".join(command), "\n".join(output))


def _is_whole(command: str) -> bool:
    return not command.endswith("\\") and command.count("'") % 2 == 0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with running(tmp_path_factory.mktemp("temporal-cli") / "data") as platform:
        asyncio.run(_publish(platform))
        yield platform


async def _publish(platform: LocalPlatform) -> None:
    async with platform.client() as bond:
        await publish(bond, ROOT / "promises/sqlite-database")


def run(platform: LocalPlatform, command: str) -> str:
    """Run it in a shell that has only what the page says; what it prints."""
    environment = {
        **platform.environment,
        "BOND_DATA": str(platform.data),
        "TEMPORAL_ADDRESS": platform.settings.temporal_address,
        "PATH": f"{Path(sys.executable).parent}:{platform.environment['PATH']}",
    }
    ran = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    return ran.stdout + ran.stderr


def commands(*, required: bool = False) -> list[Shown]:
    """Those of the page without attestations; or those with, for which `test_required_mode` has a platform."""
    before, heading, rest = PAGE.read_text().partition("\n## Where attestations are required\n")
    assert heading
    section, _, after = rest.partition("\n## ")
    return list(shown(section if required else f"{before}\n## {after}"))


def test_the_page_shows_commands():
    assert len(commands()) >= 10


def test_every_command_of_the_how_to_does_what_the_page_says(platform):
    for each in commands():
        completed = run(platform, each.command)
        until = time.monotonic() + NOT_YET_SECONDS
        while each.only_looks and not each.matches(completed) and time.monotonic() < until:
            completed = run(platform, each.command)
        assert each.matches(completed), f"$ {each.command}\n{completed}"


def test_a_secret_in_plain_is_refused(platform):
    request = (
        '{"request_id": "a", "promise": "sqlite-database", "requested_by": "ada", '
        '"inputs": {"contact": "ada@example.com", "adminPassword": "correct horse battery"}}'
    )
    completed = run(
        platform,
        "temporal workflow execute-update-with-start --workflow-id service/payments/leak --type Service"
        " --task-queue bond-control --id-conflict-policy UseExisting"
        ' --input \'{"service": {"team": "payments", "name": "leak"}}\''
        f" --update-name request_operation --update-input '{request}'",
    )
    assert "INPUTS_INVALID" in completed
    assert "adminPassword" in completed
    assert "battery" not in completed
