"""A campaign over hosts: a canary that fails stops it before any other host is touched.

Two hosts, the canary and another, because each takes many runs of Ansible;
`python -m harness.host_campaign` does the same with thirty.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from platforms import LocalPlatform

from bondstone.model.campaign.state import CampaignStatus
from harness.host_campaign import patch_hosts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

HOSTS = 2


async def test_a_failing_canary_leaves_every_other_host_alone_and_the_mended_patch_reaches_all(
    platform: LocalPlatform, hosts, tmp_path: Path
):
    async with platform.client() as bond:
        outcome = await patch_hosts(bond, hosts, tmp_path, HOSTS)
    assert outcome.broken.status is CampaignStatus.ABORTED
    assert outcome.after_broken == {"1.0.0": HOSTS}, "the canary went back, the others were never touched"
    assert (outcome.mended.status, outcome.after_mended) == (CampaignStatus.COMPLETED, {"1.0.2": HOSTS})
