"""A promise to break, and executors that check it, for tests of everything about promises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bondstone.base.errors import Problem
from bondstone.base.models import Manifest
from bondstone.model.promise import Promise
from bondstone.promise.load import parse_promise
from bondstone.promise.sections import SectionChecker, SectionReport

POSTGRES = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata:
  name: postgres
  version: 1.4.0
  title: PostgreSQL database
  owner: data-platform
spec:
  description: A managed database.
  inputs:
    type: object
    required: [size]
    additionalProperties: false
    properties:
      size: {type: string, enum: [small, medium, large], default: small}
      region: {type: string, default: eu}
      replicas: {type: integer, minimum: 0}
      network:
        type: object
        properties:
          cidr: {type: string, default: 10.0.0.0/16}
      adminPassword: {type: string, writeOnly: true}
  outputs:
    endpoint: {type: string, value: "${steps.database.outputs.endpoint}"}
    password: {type: string, value: "${steps.database.outputs.password}", secret: true}
  steps:
    - id: database
      terraform:
        module: terraform/database
        variables:
          name: "${service.name}"
          size: "${inputs.size}"
      timeout: 30m
    - id: dashboard
      needs: [database]
      when: inputs.size != 'small'
      helm: {chart: chart, values: {host: "${steps.database.outputs.endpoint}"}}
      pool: "${inputs.region}"
  policies: [policies/]
  approval:
    - {when: "plan.changes.exists(c, c.action in ['delete', 'replace'])", roles: [dba], count: 1}
  health:
    - {http: "https://${outputs.endpoint}/health", expect: 200, within: 2m}
"""

FILES = {
    "terraform/database/main.tf": "",
    "chart/Chart.yaml": "",
    "policies/size.rego": (
        'package main\nimport rego.v1\ndeny contains msg if { input.inputs.size == "huge"; msg := "no" }\n'
    ),
}


class TerraformSection(Manifest):
    module: str
    variables: dict[str, Any] = {}


class HelmSection(Manifest):
    chart: str
    values: dict[str, Any] = {}


class FakeTerraform(SectionChecker):
    kind = "terraform"
    section = TerraformSection

    def check(self, section: TerraformSection, promise: Path) -> SectionReport:
        if not (promise / section.module).is_dir():
            problem = Problem(message=f"there is no module {section.module!r}", hint="create it")
            return SectionReport(keys=[(("module",), problem)])
        keys = [
            (("variables", name), Problem(message=f"the module has no variable {name!r}"))
            for name in section.variables
            if name not in {"name", "size", "extra"}
        ]
        return SectionReport(
            outputs={"endpoint": "string", "password": "string", "port": "double", "hosts": "list<string>"},
            sensitive=frozenset({"password"}),
            keys=keys,
        )


class FakeHelm(SectionChecker):
    kind = "helm"
    section = HelmSection

    def check(self, _section: HelmSection, _promise: Path) -> SectionReport:
        return SectionReport(outputs={"status": "string"})


EXECUTORS: Mapping[str, Any] = {"terraform": FakeTerraform(), "helm": FakeHelm()}


def edited(*edits: tuple[str, str]) -> str:
    """The sample with the first occurrence of each text replaced."""
    text = POSTGRES
    for old, new in edits:
        assert old in text, f"the sample does not hold {old!r}"
        text = text.replace(old, new, 1)
    return text


def promise(*edits: tuple[str, str]) -> Promise:
    return parse_promise(edited(*edits).encode())


def write_promise(directory: Path, text: str = POSTGRES, files: Mapping[str, str] | None = None) -> Path:
    for name, content in {**FILES, **(files or {}), "promise.yaml": text}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return directory
