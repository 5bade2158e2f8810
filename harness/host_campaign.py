"""A patch of what a playbook has set up on many hosts, as one campaign, whose canary fails; then the mended patch.

    python -m harness.host_campaign --hosts 30

Each host is a user of a real sshd on loopback, and a service of its own. Version 1.0.1 fails on the canary, after
it has changed something there: the campaign must stop, put the canary back, and leave every other host alone.
Version 1.0.2 must then reach all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bondstone.base import names
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import CampaignDescription, CampaignInput
from bondstone.model.campaign.state import CampaignStatus
from bondstone.model.service import OperationStatus
from harness import local_platform
from harness.servers import hosts as hosts_server
from harness.servers.hosts import Hosts

TEAM: Final = "infrastructure"
PROMISE: Final = "agent"
BROKEN: Final = "1.0.1"
SECONDS: Final = 3000
"""For each of the three parts: a busy machine takes its time."""

_PROMISE: Final = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: agent, version: {version}, title: Agent, owner: infrastructure}}
spec:
  description: The configuration of an agent on a host.
  inputs:
    type: object
    required: [login, hostKeys, loginKey]
    additionalProperties: false
    properties:
      login: {{type: object}}
      hostKeys: {{type: string}}
      loginKey: {{type: string, writeOnly: true}}
  outputs:
    version: {{type: string, value: "${{steps.agent.outputs.version}}"}}
  steps:
    - id: agent
      ansible:
        playbook: site.yml
        inventory: {{all: {{hosts: {{host: "${{inputs.login}}"}}}}}}
        known_hosts: "${{inputs.hostKeys}}"
        private_key: "${{inputs.loginKey}}"
        verify: false
        outputs: {{version: {{}}}}
"""
_PLAYBOOK: Final = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Configure the agent
      ansible.builtin.copy: {{dest: ~/agent.conf, content: "version={version}"}}
    - name: Start the agent
      ansible.builtin.shell: test {version} != 1.0.1
      changed_when: false
      when: not ansible_check_mode
    - ansible.builtin.set_stats: {{data: {{version: "{version}"}}}}
"""
_CAMPAIGN: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, owner: infrastructure, reason: a new version of the agent}}
spec:
  operation: patch
  promise: agent
  to: {version}
  select: {{where: "team == 'infrastructure'"}}
  on_failure: abort
  max_concurrent: 4
  waves:
    - {{name: canary, count: 1, max_failures: 0, soak: 1s}}
    - {{name: rest, rest: true}}
"""


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Args:
        broken: The campaign whose canary fails.
        after_broken: How many hosts have which version of the file then.
        mended: The campaign of the mended version.
        after_mended: The same then.
        seconds: Of each part: the services, the first campaign, the second one.
    """

    broken: CampaignDescription
    after_broken: dict[str, int]
    mended: CampaignDescription
    after_mended: dict[str, int]
    seconds: tuple[float, float, float]


async def patch_hosts(bond: DirectClient, hosts: Hosts, directory: Path, count: int) -> Outcome:
    """Make a service of each host, and patch them twice.

    Args:
        bond: A client of a platform that has no such services.
        hosts: One for each service, or more.
        directory: For the promise.
        count: How many of the hosts.
    """
    seconds = []
    began = time.monotonic()
    await local_platform.publish(bond, _written(directory, "1.0.0"))
    async with asyncio.timeout(SECONDS):
        operations = [
            await bond.services.request(
                PROMISE,
                f"{TEAM}/host-{index}",
                {
                    "login": hosts.variables(index),
                    "hostKeys": hosts.known_hosts,
                    "loginKey": hosts.private_key,
                },
            )
            for index in range(count)
        ]
        records = await asyncio.gather(*(operation.wait() for operation in operations))
    failed = [record.error for record in records if record.status is not OperationStatus.SUCCEEDED]
    if failed:
        raise RuntimeError(f"{len(failed)} services were not made: {failed[0]}")
    seconds.append(time.monotonic() - began)
    runs = []
    for name, version in (("hosts-broken", BROKEN), ("hosts-mended", "1.0.2")):
        began = time.monotonic()
        await local_platform.publish(bond, _written(directory, version))
        async with asyncio.timeout(SECONDS):
            description = await _campaign(bond, name, version)
        runs.append((description, _versions(hosts, count)))
        seconds.append(time.monotonic() - began)
    (broken, after_broken), (mended, after_mended) = runs
    return Outcome(broken, after_broken, mended, after_mended, (seconds[0], seconds[1], seconds[2]))


async def _campaign(bond: DirectClient, name: str, version: str) -> CampaignDescription:
    temporal = await bond.connection.temporal()
    description: CampaignDescription = await temporal.execute_workflow(
        names.CAMPAIGN_WORKFLOW,
        CampaignInput(source=_CAMPAIGN.format(name=name, version=version), file="c.yaml", requested_by="ada"),
        id=names.campaign_workflow_id(name),
        task_queue=names.CONTROL_QUEUE,
        result_type=CampaignDescription,
    )
    return description


def _written(directory: Path, version: str) -> Path:
    folder = directory / version
    folder.mkdir()
    (folder / "promise.yaml").write_text(_PROMISE.format(version=version))
    (folder / "site.yml").write_text(_PLAYBOOK.format(version=version))
    return folder


def _versions(hosts: Hosts, count: int) -> dict[str, int]:
    """How many hosts have which version."""
    files = [hosts.home(index) / "agent.conf" for index in range(count)]
    return dict(Counter(file.read_text().removeprefix("version=") for file in files))


def _report_line(version: str, campaign: CampaignDescription, hosts: dict[str, int], seconds: float) -> str:
    return f"patch to {version}: {campaign.status} in {seconds:.0f} s, {campaign.counts}; on the hosts: {hosts}"


def main() -> int:
    """Run it on a platform of its own, and print what was seen; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=30)
    count = parser.parse_args().hosts
    directory = Path(tempfile.mkdtemp(prefix="bond-hosts-"))
    directory.chmod(0o711)
    try:
        with (
            hosts_server.running(directory, count) as hosts,
            local_platform.running(directory / "data") as platform,
        ):

            async def work() -> Outcome:
                async with platform.client() as bond:
                    return await patch_hosts(bond, hosts, directory, count)

            outcome = asyncio.run(work())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    made, broken, mended = outcome.seconds
    for line in (
        f"{count} hosts set up in {made:.0f} s",
        _report_line(BROKEN, outcome.broken, outcome.after_broken, broken),
        _report_line("1.0.2", outcome.mended, outcome.after_mended, mended),
    ):
        sys.stdout.write(f"{line}\n")
    kept = outcome.after_broken == {"1.0.0": count} and outcome.after_mended == {"1.0.2": count}
    return 0 if kept and outcome.broken.status is CampaignStatus.ABORTED else 1


if __name__ == "__main__":
    sys.exit(main())
