"""Before a promise is published, Terraform itself is asked about its modules where there is one."""

from __future__ import annotations

import platform
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from bondstone.activities.terraform import validating
from bondstone.base.errors import PromiseInvalid
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection

MANIFEST = """
    apiVersion: bondstone.dev/v1
    kind: Promise
    metadata: {name: sample, version: 0.1.0, title: Sample, owner: platform}
    spec:
      inputs: {type: object, properties: {}}
      steps:
        - {id: first, terraform: {module: terraform/main}}
        - {id: second, terraform: {module: terraform/main}, needs: [first]}
    """
PROVIDER = """
    terraform {
      required_providers { sample = { source = "example.com/corp/sample", version = "1.0.0" } }
    }
    resource "sample_thing" "one" {}
    """


def promise(root: Path, **files: str) -> Path:
    folder = root / "promise"
    for name, text in {"promise.yaml": MANIFEST, **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return folder


def client(root: Path, *, terraform: str = "", for_others: bool = False) -> DirectClient:
    settings = Settings(data=root / "data", terraform=terraform)
    return DirectClient(Connection(settings, for_others=for_others), "ada")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The only place of providers; what is run as one leaves a mark and is no provider."""
    configuration = tmp_path / "terraform.rc"
    folder = tmp_path / "mirror"
    folder.mkdir()
    configuration.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{folder}" }} }}')
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(configuration))
    return folder


async def test_what_only_terraform_refuses_is_not_published(tmp_path):
    folder = promise(
        tmp_path,
        **{
            "terraform/main/main.tf": """
                resource "terraform_data" "a" { input = terraform_data.none.id }
                module "child" { source = "../child" }
                """,
            "terraform/child/main.tf": 'output "x" { value = var.none }',
        },
    )
    before = sorted(folder.rglob("*"))
    with pytest.raises(PromiseInvalid) as refused:
        await client(tmp_path).promises.validate(folder)
    places = [(Path(each.file).relative_to(folder).as_posix(), each.line) for each in refused.value.problems]
    assert places == [("terraform/child/main.tf", 1), ("terraform/main/main.tf", 2)]
    assert 'A managed resource "terraform_data" "none" has not been declared' in str(refused.value.problems[1])
    assert sorted(folder.rglob("*")) == before, "the author's folder is left alone"


@pytest.mark.usefixtures("mirror")
async def test_a_provider_that_cannot_be_fetched_leaves_the_module_unasked_in_words(tmp_path):
    checked = await client(tmp_path).promises.validate(promise(tmp_path, **{"terraform/main/main.tf": PROVIDER}))
    (warning,) = checked.warnings
    assert warning.message.startswith(
        "Terraform was not asked about this module: Failed to query available provider packages: "
    )
    assert str(tmp_path / "mirror") in warning.message


@pytest.mark.parametrize("for_others", [False, True])
async def test_the_api_runs_no_provider_that_a_promise_names(tmp_path, mirror, for_others):
    mark = tmp_path / "ran"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    package = mirror / "example.com/corp/sample/1.0.0" / f"linux_{machine}"
    package.mkdir(parents=True)
    program = package / "terraform-provider-sample_v1.0.0"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    folder = promise(tmp_path, **{"terraform/main/main.tf": PROVIDER})
    checked = await client(tmp_path, for_others=for_others).promises.validate(folder)
    assert mark.exists() is not for_others
    expected = "it needs providers, which do not run here" if for_others else "Failed to load plugin schemas"
    assert expected in checked.warnings[0].message


async def test_the_api_fetches_no_module_from_elsewhere(tmp_path):
    main = 'module "child" { source = "../child" }'
    child = f'module "far" {{ source = "git::file://{tmp_path}/nowhere" }}'
    folder = promise(tmp_path, **{"terraform/main/main.tf": main, "terraform/child/main.tf": child})
    checked = await client(tmp_path, for_others=True).promises.validate(folder)
    assert f"uses the module git::file://{tmp_path}/nowhere" in checked.warnings[0].message


async def test_another_version_of_terraform_is_no_fault_of_the_module(tmp_path):
    main = 'terraform { required_version = ">= 99" }'
    checked = await client(tmp_path).promises.validate(promise(tmp_path, **{"terraform/main/main.tf": main}))
    assert "Unsupported Terraform Core version" in checked.warnings[0].message


async def test_a_terraform_that_does_not_answer_is_given_up_and_gone(tmp_path, monkeypatch):
    tool = tmp_path / "terraform"
    pid = tmp_path / "pid"
    tool.write_text(f"#!/bin/sh\necho $$ > {pid}.part && mv {pid}.part {pid}\nexec sleep 600\n")
    tool.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(validating, "ASK_SECONDS", 5.0)
    folder = promise(tmp_path, **{"terraform/main/main.tf": ""})
    began = time.monotonic()
    checked = await client(tmp_path, terraform=str(tool)).promises.validate(folder)
    assert "it did not answer within 5 s" in checked.warnings[0].message
    assert time.monotonic() - began < 60
    assert not psutil.pid_exists(int(pid.read_text()))


async def test_without_a_terraform_a_promise_is_checked_by_our_reading_alone(tmp_path):
    folder = promise(tmp_path, **{"terraform/main/main.tf": ""})
    checked = await client(tmp_path, terraform=str(tmp_path / "none")).promises.validate(folder)
    assert "which is not an executable file" in checked.warnings[0].message
