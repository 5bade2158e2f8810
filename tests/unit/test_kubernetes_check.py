"""What is said of a kubernetes section when its promise is published, and how files of it are rendered."""

from __future__ import annotations

import textwrap

import pytest
import yaml

from bondstone.activities.kubernetes import KubernetesExecutor
from bondstone.activities.kubernetes.manifests import declared
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.base.errors import BondError
from bondstone.promise.validation.before_publish import validate

PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: web, version: 1.0.0, title: Web, owner: shop}}
spec:
  description: A web app.
  inputs:
    type: object
    additionalProperties: false
    properties: {{replicas: {{type: integer, default: 1}}}}
  outputs:
    address: {{type: string, value: "${{steps.app.outputs.address}}"{secret}}}
  steps:
    - id: app
      kubernetes: {section}
"""
GOOD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: "${service.name}"}
spec: {replicas: "${inputs.replicas}"}
---
# nothing in here
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Service, metadata: {name: web}}
"""


def check(tmp_path, text, *, secret="", source="Service/web", **section):
    output = {"address": {"from": source, "path": "{.spec.clusterIP}"}}
    body = yaml.safe_dump(
        {"manifests": ["app.yaml"], "outputs": output, **section}, default_flow_style=True, width=999
    )
    (tmp_path / "promise.yaml").write_text(PROMISE.format(section=body.strip(), secret=secret))
    (tmp_path / "app.yaml").write_text(textwrap.dedent(text).lstrip())
    return [str(problem) for problem in validate(tmp_path, {"kubernetes": KubernetesExecutor()}).problems]


def test_a_good_section_is_published(tmp_path):
    assert check(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("inputs.replicas", "inputs.replcas"), "app.yaml:4:"),
        (GOOD.replace("kind: Deployment\n", ""), "app.yaml:1:1: the manifest has no kind"),
        (GOOD.replace('{name: "${service.name}"}', "{generateName: x-}"), "no metadata.name"),
        ("a: [", "app.yaml:1:"),
        ("a: 1\na: 2\n", "'a' is there more than once"),
        ("# nothing\n", "holds no object"),
        (
            GOOD + "---\n" + "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
            "v1/Service/web is declared twice",
        ),
        ("&a [*a]", "app.yaml"),
    ],
)
def test_mistakes_in_files_are_said_with_their_place(tmp_path, text, words):
    assert any(words in problem for problem in check(tmp_path, text)), check(tmp_path, text)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"manifests": ["ap.yaml"]}, "did you mean 'app.yaml'?"),
        ({"manifests": ["../app.yaml"]}, "is not inside the promise"),
        ({"manifests": ["${inputs.replicas}.yaml"]}, "must not be an expression"),
        ({"manifests": [{"kind": "X"}]}, "the manifest has no apiVersion"),
        ({"manifests": ["app.yaml", "./app.yaml"]}, "named twice"),
        ({"wait": [{"object": "Widget", "condition": "Ready"}]}, "names no object"),
        ({"wait": [{"object": "Service/web", "path": "{.a[}"}]}, "not understood"),
        ({"wait": [{"object": "Service/web"}]}, "say one of condition and path"),
        ({"namespaces": "x"}, "did you mean 'namespace'?"),
    ],
)
def test_mistakes_in_the_section_are_said(tmp_path, section, text):
    problems = check(tmp_path, GOOD, **section)
    assert any(text in problem for problem in problems), problems


def test_what_comes_from_a_secret_is_no_plain_output_of_the_promise(tmp_path):
    source = "v1/Secret/web"
    assert any("would show a secret" in problem for problem in check(tmp_path, GOOD, source=source))
    assert check(tmp_path, GOOD, source=source, secret=", secret: true") == []


def test_files_are_rendered_value_by_value(tmp_path):
    (tmp_path / "app.yaml").write_text(GOOD)
    section = KubernetesSection.model_validate({"manifests": ["app.yaml"]})
    values = {"service.name": "a: b\nc: d", "inputs.replicas": 3}
    with pytest.raises(BondError, match=r"metadata\.name"):
        declared(section, tmp_path, values)  # what a value holds cannot become YAML, nor a name
    result = declared(section, tmp_path, {**values, "service.name": "web"})
    assert [item["kind"] for item in result] == ["Deployment", "Service"]
    assert (result[0]["metadata"]["name"], result[0]["spec"]["replicas"]) == ("web", 3)
