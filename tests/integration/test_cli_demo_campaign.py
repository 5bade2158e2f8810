"""`bond demo --campaign`: a fleet of forty stops at a failure, and is patched with the fix; by real Terraform."""

from __future__ import annotations

import pytest
from platforms import LocalPlatform

from bondstone.base.platform_file import Platform

pytestmark = pytest.mark.integration


def test_the_fleet_stops_at_the_failure_and_is_patched_with_the_fix(tmp_path):
    local = LocalPlatform(tmp_path / "data")
    try:
        toured = local.bond("demo", "--campaign", seconds=400)
        stdout = toured.stdout
        assert "campaign cve-2026-1234 paused" in stdout
        assert "search/web-18 step server" in stdout
        assert "openssl 3.0.8 has no tls12" in stdout
        assert "campaign cve-2026-1234-retry completed" in stdout
        assert "40 of 40 services are patched" in stdout
        for name in ("cve-2026-1234", "cve-2026-1234-retry"):
            page = (local.data / f"{name}.html").read_text()
            assert "<html" in page
            assert "billing/web-01" in page or "search/web-18" in page
        assert local.bond("service", "show", "search/web-18").stdout.count("web-server@1.0.2") >= 1
    finally:
        result = Platform.read(local.data)
        if result is not None and result.alive:
            local.down()
