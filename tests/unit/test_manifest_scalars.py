"""Plain scalars of manifests are what Kubernetes' own tools take them for (`sigs.k8s.io/yaml` 1.6.0)."""

from __future__ import annotations

import json

import pytest
import yaml

from bondstone.activities.clusters.manifests import ManifestLoader

READ = {
    "0o14": "12",
    "014": "12",
    "1_000": "1000",
    "0b11": "3",
    "0x1F": "31",
    "-0x1f": "-31",
    "08": "8",
    "010.5": "10.5",
    "1e3": "1000",
    "1.e3": "1000",
    "1e+3": "1000",
    "1.0": "1",
    "1.": "1",
    "-.5": "-0.5",
    ".5_0": "0.5",
    "0.1e-2": "0.001",
    "1e30": "1e+30",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "1.8446744073709552e+19",
    "-9223372036854775808": "-9223372036854775808",
    "-9223372036854775809": "-9.223372036854776e+18",
    "9" * 309: f'"{"9" * 309}"',
    "9" * 5000: f'"{"9" * 5000}"',
    "12e4567": '"12e4567"',
    "-1e400": '"-1e400"',
    "1e-400": "0",
    "0x8000000000000000": "9223372036854775808",
    "0xFFFFFFFFFFFFFFFFFF": '"0xFFFFFFFFFFFFFFFFFF"',
    "0777777777777777777777777": "7.777777777777778e+23",
    "0x_": '"0x_"',
    "0b_": '"0b_"',
    "0o_": '"0o_"',
    "0_": "0",
    "12:30:45": '"12:30:45"',
    "22:00": '"22:00"',
    "1.2.3": '"1.2.3"',
    "192.168.0.1": '"192.168.0.1"',
    "0xg": '"0xg"',
    "0o8": '"0o8"',
    "1e": '"1e"',
    ".": '"."',
    "2026-01-01": '"2026-01-01"',
    "=": '"="',
    "y": "true",
    "N": "false",
    "on": "true",
    "yy": '"yy"',
    "'y'": '"y"',
    "~": "null",
}


@pytest.mark.parametrize(("text", "as_json"), READ.items())
def test_a_plain_scalar_is_read_as_by_kubernetes(text: str, as_json: str) -> None:
    value = yaml.load(f"value: {text}", Loader=ManifestLoader)["value"]  # noqa: S506 - a safe one
    assert json.dumps(value) == as_json
