"""The bill of materials names everything that is pinned, and nothing in it is unpinned that need not be."""

from __future__ import annotations

import re

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
    assert images == {"python", "hashicorp/terraform", "alpine/helm", "openpolicyagent/opa"}
    assert any(each["name"] == "htmx.org" for each in components)


def test_images_that_have_a_digest_are_pinned_by_it() -> None:
    collected = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    for name in ("PYTHON_IMAGE", "TERRAFORM_IMAGE"):
        assert re.fullmatch(r"[\w/.-]+:[\w.-]+@sha256:[0-9a-f]{64}", collected[name])
