"""The bill of materials names everything that is pinned, and nothing in it is unpinned that need not be."""

from __future__ import annotations

import re

from harness.pinned import TOOLS
from tools.sbom import DOCKERFILE, REQUIREMENTS, bill


def test_every_pinned_package_and_image_is_in_it_with_its_hashes() -> None:
    components = bill(validate=False)["components"]
    versions = {each["name"]: each["version"] for each in components if each["purl"].startswith("pkg:pypi/")}
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", REQUIREMENTS.read_text(), re.MULTILINE))
    assert versions == pinned
    hashes = {
        each["name"]: each["externalReferences"][0]["hashes"] for each in components if each["name"] in pinned
    }
    assert all(hashes.values())
    images = {each["name"] for each in components if each["type"] == "container"}
    assert images == {"python", "hashicorp/terraform", "golang"}
    built = {each["purl"] for each in components if each["purl"].startswith("pkg:golang/")}
    assert built == {
        f"pkg:golang/helm.sh/helm/v3@v{TOOLS['helm'].version}",
        f"pkg:golang/github.com/open-policy-agent/opa@v{TOOLS['opa'].version}",
    }
    assert any(each["name"] == "htmx.org" for each in components)


def test_every_image_that_ours_are_made_of_is_pinned_by_its_digest() -> None:
    collected = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    assert set(collected) == {"PYTHON_IMAGE", "TERRAFORM_IMAGE", "GO_IMAGE"}
    for reference in collected.values():
        assert re.fullmatch(r"[\w/.-]+:[\w.-]+@sha256:[0-9a-f]{64}", reference)
