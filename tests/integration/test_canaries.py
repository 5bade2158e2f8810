"""Rule 7: secrets never enter a history, a log, a listing, a report or an object in plain.

Canaries are planted by every way in, each beside a plain marker that goes the same ways. Then every place is
searched: the markers must be found, so the search can find things; the canaries must not.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from platforms import PROMISES, InProcess, LocalPlatform, publish, running

from bondstone.client.direct.client import DirectClient

pytestmark = pytest.mark.integration

CARELESS = ("exec", "diagnostic", "policy")


@dataclass(frozen=True)
class Planted:
    """What one service was given: canaries of letters that no encoder changes, in values that encoders do."""

    name: str
    careless: str = "nowhere"
    marker: str = field(default_factory=lambda: f"marker-{secrets.token_hex(12)}")
    salt: str = field(default_factory=lambda: secrets.token_hex(12))
    canaries: tuple[str, str, str] = field(
        default_factory=lambda: (secrets.token_hex(12), secrets.token_hex(12), secrets.token_hex(12))
    )

    @property
    def service(self) -> str:
        return f"payments/{self.name}"

    @property
    def password(self) -> str:
        first, second, _ = self.canaries
        return f'{first} "quoted" <b>&\\ é\n{second}'

    @property
    def token(self) -> str:
        return f"token-{self.canaries[2]}"

    @property
    def made(self) -> str:
        return hashlib.sha256(self.salt.encode()).hexdigest()[:24]

    @property
    def pin(self) -> int:
        return int(hashlib.sha256(self.salt.encode()).hexdigest()[30:42], 16)

    @property
    def plain(self) -> dict[str, str]:
        return {"marker": self.marker, "salt": self.salt, "careless": self.careless}

    @property
    def forbidden(self) -> dict[str, str]:
        first, second, token = self.canaries
        return {
            "password": first,
            "its second line": second,
            "token": token,
            "made": self.made,
            "pin": str(self.pin),
        }


@dataclass
class Scene:
    """A platform on which everything has been planted, and what the commands said meanwhile."""

    platform: LocalPlatform
    root: Path
    planted: list[Planted]
    printed: str

    def by(self, name: str) -> Planted:
        return next(item for item in self.planted if item.name == name)

    def leaks(self, data: bytes) -> list[str]:
        """Which canaries are in there, as they are or in base64."""
        return [
            f"{what} of {item.name}"
            for item in self.planted
            for what, canary in item.forbidden.items()
            if any(form in data for form in forms(canary))
        ]

    def marked(self, data: bytes) -> set[str]:
        """Whose markers are in there."""
        return {item.name for item in self.planted if item.marker.encode() in data}


def forms(canary: str) -> Iterator[bytes]:
    """The text, and what of its base64 does not depend on what stands around it, at each of three offsets."""
    yield canary.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + canary.encode())
        yield encoded[4:-4]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("canaries")
    (root / "tmp").mkdir()
    with running(root / "data", {"TMPDIR": str(root / "tmp"), "BOND_LOG_LEVEL": "debug"}) as platform:
        planted, text = asyncio.run(plant(platform, root))
        yield Scene(platform, root, planted, text)


async def plant(platform: LocalPlatform, root: Path) -> tuple[list[Planted], str]:
    """Every way in at once: the client, `--secret`, `--set-file`, `-f`, and promises that say what they know."""
    careless = [Planted(name, careless=name) for name in CARELESS]
    by_client, by_options, by_file, gone = map(Planted, ("client", "options", "file", "gone"))
    async with platform.client() as bond:
        await publish(bond, PROMISES / "leaky")
        results = await asyncio.gather(
            *(request_by_client(bond, item) for item in (by_client, *careless)),
            asyncio.to_thread(request_by_options, platform, root, by_options),
            asyncio.to_thread(request_by_file, platform, by_file),
            asyncio.to_thread(request_refused, platform, by_options),
            come_and_go(bond, gone),
        )
    return [by_client, by_options, by_file, gone, *careless], "\n".join(results)


async def request_by_client(bond: DirectClient, item: Planted) -> str:
    inputs = {**item.plain, "password": item.password, "auth": {"token": item.token}}
    record = await (await bond.services.request("leaky", item.service, inputs)).wait()
    assert record.status == ("succeeded" if item.careless == "nowhere" else "failed"), record.error
    return record.model_dump_json()


async def come_and_go(bond: DirectClient, item: Planted) -> str:
    text = await request_by_client(bond, item)
    record = await (await bond.services.decommission(item.service)).wait()
    assert record.status == "succeeded", record.error
    return text + record.model_dump_json()


def request_by_options(platform: LocalPlatform, root: Path, item: Planted) -> str:
    token = root / "token"
    token.write_text(item.token)
    options = [f"--set={name}={value}" for name, value in item.plain.items()]
    options += ["--set-file", f"auth.token={token}", "--secret", "password", "--wait"]
    ran = platform.bond("service", "request", "leaky", item.service, *options, stdin_text=item.password)
    token.unlink()
    return ran.stdout + ran.stderr


def request_by_file(platform: LocalPlatform, item: Planted) -> str:
    inputs = {**item.plain, "password": item.password, "auth": {"token": item.token}}
    command = ["service", "request", "leaky", item.service, "-f", "-", "--wait", "-o", "json"]
    ran = platform.bond(*command, stdin_text=json.dumps(inputs))
    return ran.stdout + ran.stderr


def request_refused(platform: LocalPlatform, item: Planted) -> str:
    """Secrets that the schema refuses, by the value and by the type: the refusal must not repeat them."""
    inputs = {**item.plain, "password": item.password * 10, "auth": {"token": [item.token]}}
    command = ["service", "request", "leaky", "payments/refused", "-f", "-"]
    ran = platform.bond(*command, stdin_text=json.dumps(inputs), status=2)
    assert "password" in ran.stderr
    assert "token" in ran.stderr
    return ran.stdout + ran.stderr


def files(directory: Path, *patterns: str) -> bytes:
    """The content of all files there, with their names."""
    collected: list[bytes] = []
    for pattern in patterns or ("*",):
        for path in sorted(directory.rglob(pattern)):
            if path.is_file():
                collected += [str(path.relative_to(directory)).encode(), path.read_bytes()]
    return b"\n".join(collected)


def test_rule_7_what_commands_say_while_they_work_has_no_secret(scene):
    assert scene.leaks(scene.printed.encode()) == []
    assert scene.marked(scene.printed.encode()) >= {*CARELESS}


def test_rule_7_the_database_of_temporal_has_no_secret(scene):
    content = files(scene.platform.data, "temporal.db*")
    assert scene.marked(content) == {item.name for item in scene.planted}
    assert scene.leaks(content) == []


async def test_rule_7_no_history_has_a_secret(scene):
    async with scene.platform.client() as bond:
        kinds, histories = set(), []
        async for execution in (await bond.connection.temporal()).list_workflows():
            handle = (await bond.connection.temporal()).get_workflow_handle(execution.id, run_id=execution.run_id)
            history = await handle.fetch_history()
            kinds.add(execution.workflow_type)
            histories.append(history.to_json().encode())
            histories += [event.SerializeToString() for event in history.events]
    result = b"\n".join(histories)
    assert kinds == {"Service", "Provision", "Decommission"}
    assert scene.marked(result) == {item.name for item in scene.planted}
    assert scene.leaks(result) == []


def test_rule_7_the_logs_of_the_platform_have_no_secret(scene):
    content = files(scene.platform.data / "log")
    assert scene.marked(content) >= {"diagnostic"}, "what a tool complained of is logged"
    assert scene.leaks(content) == []


def test_rule_7_no_object_holds_a_secret_in_plain(scene):
    content = files(scene.platform.data / "objects")
    assert scene.marked(content), "the ledger is for everyone to read"
    assert scene.leaks(content) == []


def test_rule_7_states_do_hold_secrets_and_are_sealed(scene):
    # Otherwise the search through the objects would prove nothing.
    item = scene.by("client")
    state = scene.platform.bond("state", "pull", item.service, "--step", "vault").stdout.encode()
    assert {f"{what} of client" for what in item.forbidden} == set(scene.leaks(state))


def test_rule_7_nothing_of_an_ended_operation_stays_on_the_worker(scene):
    work = scene.platform.data / "work"
    assert b"careless" in files(work), "unpacked revisions are kept there"
    assert scene.leaks(files(work)) == []
    assert [path for path in (work / "runs").rglob("*") if path.is_file()] == []
    assert scene.leaks(files(scene.root / "tmp")) == []


def test_rule_7_nothing_else_in_the_data_directory_has_a_secret(scene):
    known = {"objects", "log", "work"}
    for path in scene.platform.data.iterdir():
        if path.name not in known:
            assert scene.leaks(files(path) if path.is_dir() else path.read_bytes()) == [], path.name


def test_rule_7_no_command_shows_a_secret_unasked(scene):
    leaks, marked = {}, set()
    for command in [*commands_on_all(), *(each for item in scene.planted for each in commands_on(item))]:
        text = in_process(scene.platform, command)
        leaks |= {" ".join(command): entry for entry in [scene.leaks(text)] if entry}
        marked |= {(command[1], name) for name in scene.marked(text)}
    assert leaks == {}
    names = {item.name for item in scene.planted}
    silent = {
        "plan": {"diagnostic"},
        "logs": {"gone", "policy"},
        "show": {"gone"},
    }  # they have nothing to show there
    for verb in ("show", "plan", "logs", "history"):
        assert {name for shown, name in marked if shown == verb} >= names - silent.get(verb, set()), verb


def test_outputs_show_secrets_to_those_who_ask(scene):
    for name in ("client", "options", "file"):
        item = scene.by(name)
        output = scene.platform.bond("service", "outputs", item.service, "--reveal", "-o", "json").stdout
        assert json.loads(output) == {
            "marker": item.marker,
            "made": f"made-{item.made}",
            "pin": item.pin,
            "url": f"postgres://root:{item.password}@{item.marker}",
        }


async def test_a_decommissioned_service_leaves_no_secret_to_reveal(scene):
    async with scene.platform.client() as bond:
        kept = [info.key for info in await (await bond.connection.store()).objects.list("secrets/payments/")]
    assert [key for key in kept if key.startswith("secrets/payments/client/")]
    assert [key for key in kept if key.startswith("secrets/payments/gone/")] == []


def commands_on_all() -> Iterable[list[str]]:
    for form in ("table", "json", "yaml"):
        yield ["service", "list", "--all", "-o", form]
        yield ["operation", "list", "-o", form]
        yield ["promise", "show", "leaky", "-o", form]
        yield ["status", "-o", form]


def commands_on(item: Planted) -> Iterable[list[str]]:
    operation = f"{item.service}/op/1"
    # YAML writes the document that JSON writes: once is enough
    for form in ("table", "json", *(["yaml"] if item.name == "client" else [])):
        yield ["service", "show", item.service, "-o", form]
        yield ["service", "outputs", item.service, "-o", form]
        yield ["service", "history", item.service, "-o", form]
        yield ["operation", "list", item.service, "-o", form]
        yield ["operation", "show", operation, "-o", form]
        yield ["operation", "plan", operation, "-o", form]
        yield ["operation", "wait", operation, "-o", form]
        yield ["state", "log", item.service, "--step", "vault", "-o", form]
    yield ["service", "logs", item.service]
    yield ["operation", "logs", operation]


def in_process(platform: LocalPlatform, command: list[str]) -> bytes:
    """What a command writes, both ways; as a process of its own each would take longer."""
    ran = InProcess(platform).bond(*command, status=None)
    return f"{ran.stdout}\n{ran.stderr}".encode()
