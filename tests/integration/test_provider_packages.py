"""Packages of providers are read once by a worker, and by Terraform wherever the worker has not verified them."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from terraform_kit import Bench

from bondstone.activities.terraform import TerraformExecutor, provider_packages
from bondstone.activities.terraform.artefact import unpack
from bondstone.activities.terraform.provider_packages import ProviderPackages, package_checksum
from bondstone.base.errors import ToolFailed, ToolUnavailable
from harness import terraform_mirror

pytestmark = pytest.mark.integration

SOURCE = "registry.terraform.io/acme/fake"
NEEDS = 'terraform {\n  required_providers {\n    fake = { source = "acme/fake", version = "1.0.0" }\n  }\n}\n'
MODULE = 'resource "terraform_data" "one" {}\n'


@pytest.fixture
async def bench(tmp_path, monkeypatch) -> Bench:
    """A module that is prepared with a provider, and then needs it no more: it is read, and nobody starts it."""
    if (terraform := shutil.which("terraform")) is None:
        pytest.skip("no terraform on PATH")
    program = tmp_path / "program"
    program.write_text("no provider at all\n")
    root = terraform_mirror.mirror(tmp_path, SOURCE, "1.0.0", program)
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", terraform_mirror.configured(tmp_path, root)["TF_CLI_CONFIG_FILE"])
    bench = await Bench.open(tmp_path, terraform)
    bench.write(NEEDS)
    with pytest.raises(ToolFailed, match="Failed to load plugin schemas"):
        await bench.plan()
    bench.write(MODULE)
    return bench


def package(bench: Bench) -> Path:
    """The file of the provider, where Terraform runs it."""
    (folder,) = bench.settings.work_dir.glob(f"modules/*/data/providers/{SOURCE}/1.0.0/*")
    (file,) = folder.resolve().iterdir()
    return file


def lock_file_in(artefact: bytes) -> str:
    """The dependency lock file inside a saved plan."""
    with zipfile.ZipFile(io.BytesIO(unpack(artefact)[1])) as archive:
        return archive.read(".terraform.lock.hcl").decode()


async def test_terraform_does_not_read_again_what_the_worker_has_verified(bench):
    planned = await bench.plan()
    assert "hashes" not in lock_file_in(planned.artefact)
    whole = unpack(planned.artefact)[0].lock_file
    assert f'"{package_checksum(package(bench).parent)}"' in whole, "Terraform's own checksum is another"
    await bench.apply(planned)


async def test_a_package_that_was_changed_after_the_plan_is_installed_anew(bench):
    planned = await bench.plan()
    with package(bench).open("a") as file:
        file.write("changed")
    with pytest.raises(ToolUnavailable, match="is not the one that the plan was made with"):
        await bench.apply(planned)
    bench.write(NEEDS)
    await bench.apply(planned)


async def test_terraform_itself_refuses_to_plan_with_a_changed_package(bench):
    with package(bench).open("a") as file:
        file.write("changed")
    with pytest.raises(ToolUnavailable, match="does not match any of the checksums"):
        await bench.plan()


async def test_another_worker_installs_what_the_whole_lock_file_says(bench):
    planned = await bench.plan()
    shutil.rmtree(bench.settings.work_dir / "modules")
    bench.executor = TerraformExecutor()
    bench.write(NEEDS)
    await bench.apply(planned)


async def test_a_plan_with_all_checksums_is_applied_with_all_of_them(bench, monkeypatch):
    async def as_it_is(_self, lock_file, _data, *, like=None):
        del like
        return lock_file

    with monkeypatch.context() as patch:
        patch.setattr(ProviderPackages, "without_verified", as_it_is)
        planned = await bench.plan()
    assert "hashes" in lock_file_in(planned.artefact)
    await bench.apply(planned)


async def test_a_lock_file_that_the_module_ships_is_kept_and_counts(bench):
    await bench.plan()
    (lock,) = bench.settings.work_dir.glob("modules/*/lock.hcl")
    bench.write(lock.read_text(), file=".terraform.lock.hcl")
    planned = await bench.plan()
    assert "hashes" not in lock_file_in(planned.artefact)
    await bench.apply(planned)
    assert (bench.bundle / "terraform/database/.terraform.lock.hcl").read_text() == lock.read_text()
    bench.write(lock.read_text().replace("h1:", "h1:x"), file=".terraform.lock.hcl")
    with pytest.raises(ToolUnavailable, match="does not match any of the checksums"):
        await bench.plan()


@pytest.mark.parametrize(
    "text",
    [
        'provider "../../../etc/x" {\n  version = "1.0.0"\n  hashes = [\n    "h1:x",\n  ]\n}\n',
        'provider "a/b/c" {\n  version = "../1.0.0"\n  hashes = [\n    "h1:x",\n  ]\n}\n',
        'provider "a/b/c" { version = "1.0.0" }\n',
        "# nothing\n",
    ],
)
async def test_what_terraform_has_not_written_is_left_to_it(tmp_path, monkeypatch, text):
    monkeypatch.setattr(provider_packages, "package_checksum", lambda _folder: "h1:x")
    (tmp_path / "etc/x/1.0.0/linux").mkdir(parents=True)
    (tmp_path / "1/2/providers/a/b/1.0.0/linux").mkdir(parents=True)
    (tmp_path / "1/2/providers/a/b/c").mkdir()
    lock = text.encode()
    assert await ProviderPackages().without_verified(lock, tmp_path / "1/2") == lock


async def test_a_package_is_read_once_until_it_changes(bench, monkeypatch):
    await bench.plan()
    folder = package(bench).parent
    reads = []
    monkeypatch.setattr(provider_packages, "package_checksum", lambda folder: reads.append(folder) or "h1:x")
    stamps = ["one", "one", None, None, "two"]
    monkeypatch.setattr(provider_packages, "folder_stamp", lambda _folder: stamps.pop(0))
    (lock,) = bench.settings.work_dir.glob("modules/*/lock.hcl")
    packages = ProviderPackages()
    for expected in (1, 1, 2, 3, 4):
        await packages.without_verified(lock.read_bytes(), lock.parent / "data")
        assert len(reads) == expected
    assert set(reads) == {folder}


def test_a_package_with_links_is_left_to_terraform(tmp_path):
    (tmp_path / "provider").write_text("x")
    assert package_checksum(tmp_path)
    (tmp_path / "link").symlink_to("provider")
    assert package_checksum(tmp_path) is None
    assert package_checksum(tmp_path / "none") is None
