"""`bond demo --campaign`: a fleet stops at a failure, and is patched with the fix; by real Terraform.

People see forty services. Twenty, of which the eighteenth fails, take half of the CPU time;
`BOND_TOUR_SERVICES=40 pytest tests/integration/test_cli_demo_campaign.py` has all of them.
"""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest
from platforms import InProcess, LocalPlatform

from bondstone.base.platform_file import Platform

pytestmark = pytest.mark.integration

SERVICES = int(os.environ.get("BOND_TOUR_SERVICES", "20"))


def test_the_fleet_stops_at_the_failure_and_is_patched_with_the_fix(tmp_path):
    local = LocalPlatform(tmp_path / "data")
    try:
        with patch("bondstone.cli.demo.campaign.SERVICES", SERVICES):
            stdout = InProcess(local).bond("demo", "--campaign").stdout
        assert "campaign cve-2026-1234 paused" in stdout
        assert "search/web-18 step server" in stdout
        assert "openssl 3.0.8 has no tls12" in stdout
        assert "campaign cve-2026-1234-retry completed" in stdout
        assert f"{SERVICES} of {SERVICES} services are patched" in stdout
        for name in ("cve-2026-1234", "cve-2026-1234-retry"):
            page = (local.data / f"{name}.html").read_text()
            assert "<html" in page
            assert "billing/web-01" in page or "search/web-18" in page
        assert local.bond("service", "show", "search/web-18").stdout.count("web-server@1.0.2") >= 1
    finally:
        result = Platform.read(local.data)
        if result is not None and result.alive:
            local.down()
