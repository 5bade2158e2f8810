"""JSON Schemas for editors: they take what the readers take, and name what is misspelt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from bondstone.executors.editor_schemas import EDITOR_SCHEMAS, editor_schema, modeline, service_schema

ROOT = Path(__file__).parents[2]
PROMISES = sorted([*ROOT.glob("promises/*/promise.yaml"), *ROOT.glob("tests/integration/promises/*/promise.yaml")])
CASES = sorted(file for file in ROOT.glob("promises/*/tests/*.yaml") if file.stem != "policies")
"""Cases of policies have a form of their own."""


def read(file: Path) -> object:
    return json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))


def problems(schema: dict, value: object) -> list[str]:
    validator = jsonschema_rs.Draft202012Validator(schema, offline=True)
    return [
        f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(value)
    ]


@pytest.mark.parametrize("file", PROMISES, ids=lambda file: file.parent.name)
def test_every_promise_of_the_repository_fits(file: Path) -> None:
    assert problems(editor_schema("promise"), read(file)) == []


@pytest.mark.parametrize("file", CASES, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_every_case_of_the_repository_fits(file: Path) -> None:
    assert problems(editor_schema("promise-tests"), read(file)) == []


def promise(**step: object) -> dict:
    steps = [{"id": "db", "terraform": {"module": "terraform/db"}, **step}]
    return {
        "apiVersion": "bondstone.dev/v1", "kind": "Promise", "metadata": {"name": "db", "version": "1.0.0"},
        "spec": {"steps": steps},
    }  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [
        promise(helm={"chart": "chart"}),
        promise(terrafrom={"module": "x"}),
        promise(terraform={"modul": "x"}),
        promise(neds=["a"]),
        {**promise(), "kind": "Promis"},
        {**promise(), "spec": {}},
    ],
)
def test_a_mistake_shows_while_it_is_typed(broken: dict) -> None:
    assert problems(editor_schema("promise"), promise()) == []
    assert problems(editor_schema("promise"), broken)


def test_an_expression_stands_where_another_type_does() -> None:
    step = promise(kubernetes={"manifests": "k8s", "wait": {"timeout": "5m"}})
    del step["spec"]["steps"][0]["terraform"]
    section = step["spec"]["steps"][0]["kubernetes"]
    section["prune"] = "${inputs.prune}"
    complaints = problems(editor_schema("promise"), step)
    assert not any("prune: " in each and "boolean" in each for each in complaints)


def test_a_manifest_of_a_promise_has_its_inputs_and_no_secret() -> None:
    inputs = {
        "type": "object", "required": ["owner"], "additionalProperties": False,
        "properties": {"owner": {"$ref": "#/$defs/who"}, "password": {"type": "string", "writeOnly": True}},
        "$defs": {"who": {"type": "string", "minLength": 3}},
    }  # fmt: skip
    schema = service_schema("db", "1.0.0", inputs)

    def manifest(**values: object) -> dict:
        metadata = {"team": "shop", "name": "orders"}
        spec = {"promise": "db", "inputs": values}
        return {"apiVersion": "bondstone.dev/v1", "kind": "Service", "metadata": metadata, "spec": spec}

    assert problems(schema, manifest(owner="ada", password={"$env": "DB_PASSWORD"})) == []
    assert problems(schema, manifest(owner="x"))
    assert problems(schema, manifest(owner="ada", password="hunter2"))
    assert problems(schema, manifest(owner="ada", sise=1))
    assert problems(schema, manifest())


SCHEMA_OF = {
    "Service": "service", "Campaign": "campaign", "Strategy": "strategy", "Schedule": "schedule",
    "Freeze": "freeze", "PolicySet": "policy-set", "PromiseReference": "promise-reference",
    "Access": "access", "Promise": "promise",
}  # fmt: skip


def documented() -> Iterator[tuple[str, dict]]:
    """Every whole manifest that the documentation shows, by page and kind."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            for text in re.split(r"^---$", block, flags=re.MULTILINE):
                if re.search(r"^apiVersion: bondstone", text, re.MULTILINE):
                    value = json.loads(json.dumps(YAML(typ="safe").load(text), default=str))
                    yield f"{page.stem}-{value['kind']}", value


@pytest.mark.parametrize(("name", "value"), list(documented()))
def test_every_documented_manifest_fits_and_a_misspelt_key_in_it_does_not(name: str, value: dict) -> None:
    schema = editor_schema(SCHEMA_OF[value["kind"]])
    assert problems(schema, value) == [], name
    assert problems(schema, {**value, "misspelt": 1}), name
    assert problems(schema, {**value, "spec": {**value["spec"], "misspelt": 1}}), name


@pytest.mark.parametrize("kind", EDITOR_SCHEMAS)
def test_the_schema_of_each_kind_is_one(kind: str) -> None:
    jsonschema_rs.meta.validate(editor_schema(kind))
    assert modeline(kind).startswith("# yaml-language-server: $schema=.schemas/")


@pytest.mark.parametrize(("role", "fits"), [("operator", True), ("approver:dba", True), ("oprator", False)])
def test_a_role_that_does_not_exist_is_marked_in_an_access_document(role: str, *, fits: bool) -> None:
    grant = {"subjects": [{"group": "dba"}], "roles": [role], "scope": "everything"}
    document = {"apiVersion": "bondstone.dev/v1", "kind": "Access", "spec": {"grants": [grant]}}
    flaws = problems(editor_schema("access"), document)
    assert (flaws == []) is fits
    assert fits or any("oprator" in flaw for flaw in flaws)
