"""What docs/how-to/backstage.md tells people to type is what tests/backstage runs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bondstone.base.backstage_settings import BackstageSettings
from harness.servers.backstage.configuration import CLIENT_SECRET, Secrets, bondstone_settings, configuration

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "backstage.md"
URL, BOND, ISSUER = "http://localhost:7007", "http://bond.example:8080", "https://login.example"
ANY = "any value"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def differences(part: Any, whole: Any, where: str = "") -> Iterator[str]:
    """What of a part the whole has not, or has otherwise."""
    if isinstance(part, dict) and isinstance(whole, dict):
        for key, value in part.items():
            if key in whole:
                yield from differences(value, whole[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} is not in the lane"
    elif isinstance(part, list) and isinstance(whole, list):
        for item in part:
            if not any(not list(differences(item, each)) for each in whole):
                yield f"{where} of the lane has nothing like {item}"
    elif part not in (whole, ANY):
        yield f"{where} is {whole} in the lane, not {part}"


@pytest.fixture
def files(tmp_path: Path) -> Secrets:
    made = Secrets(tmp_path)
    made.make()
    return made


APP_CONFIG = [block for block in blocks("yaml") if not block.lstrip().startswith("- subjects")]


@pytest.mark.parametrize("number", range(len(APP_CONFIG)))
def test_each_block_of_the_page_for_backstage_is_in_the_configuration_of_the_lane(number, files):
    names = {
        "BOND_CATALOG_TOKEN": files.catalog.read_text(), "BOND_FEED_TOKEN": files.feed.read_text(),
        "AGENT_TOKEN": files.agent, "OIDC_CLIENT_SECRET": CLIENT_SECRET, "SESSION_SECRET": ANY,
    }  # fmt: skip
    text = re.sub(r"\$\{(\w+)\}", lambda match: names[match[1]], APP_CONFIG[number])
    lane = configuration(URL, BOND, files, issuer=ISSUER, proxy=True)
    assert list(differences(yaml.safe_load(text), lane)) == []


def test_the_page_has_the_blocks_that_a_backstage_needs():
    sections = [set(yaml.safe_load(block)) for block in APP_CONFIG]
    assert {"backend", "discovery", "catalog"} in sections
    assert {"auth"} in sections
    assert {"proxy"} in sections


def test_the_settings_of_the_page_are_those_of_the_lane(files):
    settings = tomllib.loads(blocks("toml")[0])["backstage"]
    BackstageSettings.model_validate(settings)
    lane = bondstone_settings(URL, files)["BOND_BACKSTAGE"]
    for name in ("person", "group"):
        assert f'"{name}": "{settings[name]}"' in lane
    assert set(settings) - {"app_url"} <= set(yaml.safe_load(lane))
