"""`bond promise init`: what a module, a chart or a kind becomes, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bondstone.activities.helm.scaffold import draft as helm_draft
from bondstone.activities.kubernetes.scaffold import draft as kind_draft
from bondstone.activities.terraform.scaffold import draft as terraform_draft
from bondstone.activities.terraform.type_schema import NotLiteralError, type_schema
from bondstone.base.errors import AlreadyExists, InvalidInput
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import bumped, differences, update_promise, write_promise
from bondstone.promise.validation.before_publish import validate


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("string", {"type": "string"}),
        ("any", {}),
        ("list(number)", {"type": "array", "items": {"type": "number"}}),
        ("set(string)", {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        ("map(bool)", {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (
            'object({port = number, cidr = optional(list(string), ["10.0.0.0/8"])})',
            {
                "type": "object",
                "properties": {
                    "port": {"type": "number"},
                    "cidr": {"type": "array", "items": {"type": "string"}, "default": ["10.0.0.0/8"]},
                },
                "additionalProperties": False,
                "required": ["port"],
            },
        ),
        (
            'object({day = optional(string, 7), on = optional(bool, "true")})',
            {
                "type": "object",
                "properties": {
                    "day": {"type": "string", "default": "7"},
                    "on": {"type": "boolean", "default": True},
                },
                "additionalProperties": False,
            },
        ),
        (
            "tuple([string, bool])",
            {
                "type": "array",
                "prefixItems": [{"type": "string"}, {"type": "boolean"}],
                "items": False,
                "minItems": 2,
            },
        ),
    ],
)  # fmt: skip
def test_a_type_constraint_is_the_same_json_schema(text: str, schema: dict[str, Any]) -> None:
    assert type_schema(text) == schema


@pytest.mark.parametrize("text", ["strin", "list(", "list(string", "object({a})", "list(string) x"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(NotLiteralError):
        type_schema(text)


MODULE = """
variable "name" {
  type        = string
  description = "Name of it"
  validation {
    condition     = can(regex("^[a-z]+$", var.name)) && length(var.name) <= 20
    error_message = "Lower case."
  }
}
variable "tier" {
  default = "a"
  validation {
    condition     = contains(["a", "b"], var.tier)
    error_message = "a or b"
  }
}
variable "port" {
  type    = string
  default = 443
  validation {
    condition     = var.port != "22"
    error_message = "Not the port of SSH."
  }
}
variable "password" {
  type      = string
  sensitive = true
}
variable "zone" { default = join("-", ["a", "b"]) }
resource "terraform_data" "it" { input = [var.name, var.tier, var.port, var.zone] }
output "name" {
  value       = var.name
  description = "As it was given."
}
output "password" {
  value     = var.password
  sensitive = true
}
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(MODULE)
    return folder


def test_a_module_becomes_inputs_outputs_and_a_list_of_the_rest(module: Path) -> None:
    draft = terraform_draft(module)
    properties = draft.inputs["properties"]
    assert properties["name"] == {
        "type": "string", "description": "Name of it", "pattern": "^[a-z]+$", "maxLength": 20,
    }  # fmt: skip
    assert properties["tier"]["enum"] == ["a", "b"]
    assert properties["port"] == {"type": "string", "default": "443"}, "converted as Terraform does"
    assert properties["password"] == {"type": "string", "writeOnly": True}
    assert sorted(draft.inputs["required"]) == ["name", "password"]
    assert draft.outputs["password"]["secret"] is True
    assert draft.untranslated == [
        "variable port: a validation was not translated: Not the port of SSH.",
        "variable zone: its default is an expression; without a value, the module's own is used",
    ]


def test_the_promise_validates_as_generated(module: Path, tmp_path: Path) -> None:
    directory = tmp_path / "promise"
    write_promise(directory, "thing", terraform_draft(module))
    assert validate(directory, load_executors()).problems == ()
    assert (directory / "terraform" / "main" / "main.tf").read_text() == MODULE
    with pytest.raises(AlreadyExists):
        write_promise(directory, "thing", terraform_draft(module))


def test_a_newer_module_raises_the_version_as_its_differences_require(module: Path, tmp_path: Path) -> None:
    directory = tmp_path / "promise"
    write_promise(directory, "thing", terraform_draft(module), version="1.2.3")
    (module / "more.tf").write_text('variable "size" { default = 1 }\n')
    assert update_promise(directory, terraform_draft(module))[:2] == ("1.2.3", "1.3.0")
    (module / "more.tf").write_text('variable "owner" {}\n')
    before, after, changes = update_promise(directory, terraform_draft(module))
    assert (before, after) == ("1.3.0", "2.0.0")
    assert {(change.path, change.what) for change in changes} == {
        ("owner", "is new and required"),
        ("size", "is gone"),
    }
    content = yaml.safe_load((directory / "promise.yaml").read_text())
    variables = content["spec"]["steps"][0]["terraform"]["variables"]
    assert "size" not in variables
    assert variables["owner"] == "${inputs.owner}"
    assert validate(directory, load_executors()).problems == ()


def test_narrower_inputs_are_a_major_change_and_wider_ones_a_minor() -> None:
    wide = {"properties": {"a": {"type": "string"}}}
    narrow = {"properties": {"a": {"type": "string", "maxLength": 3}}}
    assert [change.bump for change in differences(wide, narrow)] == ["major"]
    assert [change.bump for change in differences(narrow, wide)] == ["minor"]
    assert bumped("0.4.1", list(differences(wide, narrow))) == "0.5.0"


def test_a_chart_becomes_a_promise(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 1.0.0}")
    (chart / "templates" / "x.yaml").write_text("")
    (chart / "values.yaml").write_text(
        "# -- How many pods.\nreplicas: 2\nimage: {repository: shop, tag: '1'}\nadminPassword: hunter2\n'a.b': 1\n"
    )
    draft = helm_draft(chart)
    properties = draft.inputs["properties"]
    assert properties["replicas"] == {"type": "integer", "default": 2, "description": "How many pods."}
    assert properties["image"]["default"] == {"repository": "shop", "tag": "1"}
    assert properties["adminPassword"] == {"type": "string", "writeOnly": True}
    assert "hunter2" not in str(draft.inputs)
    assert len(draft.untranslated) == 2
    directory = tmp_path / "promise"
    write_promise(directory, "shop", draft)
    assert validate(directory, load_executors()).problems == ()


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.example.com}
spec:
  group: example.com
  names: {kind: Database, plural: databases}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              x-kubernetes-validations: [{rule: "self.size > 0"}]
              properties:
                size: {type: integer, minimum: 0, exclusiveMinimum: true, format: int32}
                port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
                note: {type: string, nullable: true}
                extra:
                  type: object
                  x-kubernetes-preserve-unknown-fields: true
                  x-kubernetes-validations: [{rule: "true"}]
            status: {type: object, properties: {conditions: {type: array}}}
"""


def test_a_kind_becomes_a_promise_that_waits_for_it(tmp_path: Path) -> None:
    file = tmp_path / "crd.yaml"
    file.write_text(CRD)
    draft = kind_draft(file)
    properties = draft.inputs["properties"]
    assert properties["size"] == {"type": "integer", "minimum": 0, "exclusiveMinimum": 0}
    assert properties["port"] == {"type": ["integer", "string"]}
    assert properties["note"] == {"type": ["string", "null"]}
    assert draft.section["wait"][0]["condition"] == "Ready"
    assert draft.untranslated == [
        "spec.extra: x-kubernetes-validations was not translated; the API server checks it"
    ]
    directory = tmp_path / "promise"
    write_promise(directory, "database", draft)
    assert validate(directory, load_executors()).problems == ()


XRD = """
apiVersion: apiextensions.crossplane.io/VERSION
kind: CompositeResourceDefinition
metadata: {name: xdatabases.example.org}
spec:
  group: example.org
  names: {kind: XDatabase, plural: xdatabases}
  MORE
  versions:
    - name: v1
      served: true
      referenceable: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}}}}
"""
CLAIM = "claimNames: {kind: Database, plural: databases}"


@pytest.mark.parametrize(
    ("version", "more", "kind", "scope"),
    [
        ("v2", "", "XDatabase", "Namespaced"),
        ("v2", "scope: Cluster", "XDatabase", "Cluster"),
        ("v1", "", "XDatabase", "Cluster"),
        ("v1", CLAIM, "Database", "Namespaced"),
        ("v2", f"scope: LegacyCluster\n  {CLAIM}", "Database", "Namespaced"),
    ],
)
def test_a_composite_becomes_a_promise_that_waits_as_crossplane_says(
    tmp_path: Path, version: str, more: str, kind: str, scope: str
) -> None:
    file = tmp_path / "xrd.yaml"
    file.write_text(XRD.replace("VERSION", version).replace("MORE", more))
    draft = kind_draft(file)
    [manifest] = draft.section["manifests"]
    assert (manifest["kind"], draft.section["ready"]) == (kind, "crossplane")
    assert draft.section.get("cluster_scoped", False) is (scope == "Cluster")
    assert ("wait" in draft.section, manifest["spec"].get("compositeDeletePolicy")) == (
        False,
        "Foreground" if kind == "Database" else None,
    )
    directory = tmp_path / "promise"
    write_promise(directory, "database", draft)
    assert validate(directory, load_executors()).problems == ()


def test_what_cannot_be_read_says_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no \*\.tf file"):
        terraform_draft(tmp_path)
    with pytest.raises(InvalidInput, match=r"no Chart\.yaml"):
        helm_draft(tmp_path)
