"""A running platform is backed up, lost, restored elsewhere, and looked over; what is broken is named."""

from __future__ import annotations

import json

import pytest
from platforms import PROMISES, LocalPlatform, read_json, refused, running

pytestmark = pytest.mark.integration


def statuses(findings: list[dict]) -> dict[str, str]:
    return {finding["check"]: finding["status"] for finding in findings}


def test_a_backup_of_a_running_platform_is_restored_elsewhere_and_is_well(tmp_path):
    file, data = tmp_path / "bond.tar.gz", tmp_path / "restored"
    with running(tmp_path / "lost") as lost:
        lost.bond("promise", "publish", str(PROMISES / "patient"))
        lost.bond("service", "request", "patient", "care/kept", "--wait")
        document = read_json(lost, "backup", "backup", str(file))
        assert (document["keys"], document["data"]) == (True, str(lost.data))
        refused(lost.bond("backup", str(file), "-o", "json", status=4), "REFUSED")
        refused(lost.bond("restore", str(file), "-o", "json", status=4), "REFUSED")
        assert set(statuses(read_json(lost, "doctor", "doctor")).values()) == {"ok"}

        restored = LocalPlatform(data)
        read_json(restored, "backup", "restore", str(file))
        offline = read_json(restored, "doctor", "doctor", status=1)
        assert statuses(offline) == {
            "database": "ok", "disk": "ok", "temporal": "problem", "store": "ok", "keys": "ok", "access": "ok",
            "ledger": "ok", "operations": "skipped",
        }  # fmt: skip
    with running(data) as again:
        shown = json.loads(again.bond("service", "show", "care/kept", "-o", "json").stdout)
        assert shown["phase"] == "ready"
        again.bond("service", "update", "care/kept", "--set", "size=medium", "--wait")

        [record] = (data / "objects" / "ledger").rglob("*op-1.json")
        record.write_bytes(record.read_bytes().replace(b'"reason":""', b'"reason":"so it was"'))
        keys = (data / "keys.json").rename(data / "keys.away")
        broken = read_json(again, "doctor", "doctor", status=1)
        assert (statuses(broken)["keys"], statuses(broken)["ledger"]) == ("problem", "skipped")
        keys.rename(data / "keys.json")
        [finding] = [each for each in read_json(again, "doctor", "doctor", status=1) if each["check"] == "ledger"]
        assert finding["message"].startswith("care/kept: ")
