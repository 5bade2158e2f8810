"""`bond login` with a real provider that has the device grant: npm's oidc-provider."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bondstone.base.issuer_settings import IssuerSettings
from bondstone.base.settings import Settings
from harness import light_api, providers
from harness.light_api import publish_access
from harness.provider_pages import signs_in

pytestmark = pytest.mark.integration

TOKEN_SECONDS = 45
"""Life of an ID token: `bond` renews it 30 s before its end."""
ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
spec:
  grants:
    - subjects: [{user: "dev:ada"}]
      roles: [viewer]
      scope: {teams: [payments]}
    - subjects: [{group: "dev:team-eve"}]
      roles: [operator]
      scope: everything
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    if missing := providers.missing_node():
        pytest.skip(missing)
    directory = tmp_path_factory.mktemp("login")
    with providers.node_provider(directory, token_seconds=TOKEN_SECONDS) as issuer:
        trusted = IssuerSettings(
            issuer=issuer, client_id="bondstone", groups_claim="groups", subject_prefix="dev:"
        )
        with light_api.serving(directory / "data", issuers=(trusted,), admins=("group:admins",)) as settings:
            publish_access(settings, ACCESS)
            yield settings


class Terminal:
    """A machine elsewhere that knows the address of the API and nothing else.

    Args:
        platform: Whose API.
        home: Its user's folder.
    """

    def __init__(self, platform: Settings, home: Path) -> None:
        self.home = home
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BOND_", "TEMPORAL_"))},
            "BOND_API": platform.api,
            "BOND_CONTEXTS": str(home / "contexts.json"),
            "BOND_DATA": str(home / "none"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bondstone.cli.app", *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environment, cwd=self.home,
        )  # fmt: skip

    def bond(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert process.returncode == status, f"bond {arguments}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def login(self, name: str, *options: str, pattern: str, agrees: bool = True, status: int = 0) -> str:
        """Sign in as somebody, at the address that `bond login` prints; what it said in the end."""
        process = self.start("login", *options)
        assert process.stderr is not None
        lines = []
        while not (match := re.search(pattern, "".join(lines))):
            line = process.stderr.readline()
            assert line, lines
            lines.append(line)
        signs_in(match[1], name, agrees=agrees)
        out, err = process.communicate(timeout=90)
        assert process.returncode == status, f"{lines}\n{out}\n{err}"
        return out + err

    def by_code(self, name: str, **options: bool | int) -> str:
        return self.login(name, "--device", pattern=r"or open (\S+)", **options)  # type: ignore[arg-type]

    def whoami(self) -> dict:
        return json.loads(self.bond("whoami", "-o", "json").stdout)

    @property
    def kept(self) -> dict:
        return next(iter(json.loads((self.home / "sign-ins.json").read_text()).values()))


@pytest.fixture
def terminal(platform: Settings, tmp_path: Path) -> Terminal:
    return Terminal(platform, tmp_path)


def test_a_person_signs_in_with_a_code_and_has_the_roles_of_the_access_document(terminal):
    assert "bond login" in terminal.bond("service", "list", status=4).stderr
    assert "signed in as dev:ada" in terminal.by_code("ada")
    identity = terminal.whoami()
    assert (identity["name"], identity["proven"], identity["groups"]) == ("dev:ada", True, ["dev:team-ada"])
    assert identity["roles"] == ["viewer in teams payments"]
    terminal.bond("service", "list")
    assert "dev:ada" in terminal.bond("access", "show", status=4).stderr


def test_a_group_of_the_token_gives_its_roles_in_a_browser_on_this_machine(terminal):
    output = terminal.login("eve", "--browser", "--no-open", pattern=r"browser at (\S+)")
    assert "signed in as dev:eve" in output
    assert terminal.whoami()["roles"] == ["operator everywhere"]


def test_a_sign_in_is_kept_for_its_owner_alone(terminal):
    terminal.by_code("ada")
    assert (terminal.home / "sign-ins.json").stat().st_mode & 0o777 == 0o600


def test_a_sign_in_is_renewed_once_by_many_commands_at_the_same_time(terminal):
    terminal.by_code("ada")
    before = terminal.kept
    file = terminal.home / "sign-ins.json"
    held = json.loads(file.read_text())
    for each in held.values():
        each["expires_at"] = time.time()
    file.write_text(json.dumps(held))
    processes = [terminal.start("whoami", "-o", "json") for _ in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert json.loads(out)["name"] == "dev:ada"
    after = terminal.kept
    assert after["refresh_token"] != before["refresh_token"], "the provider changes it at each use"
    assert terminal.whoami()["name"] == "dev:ada"


def test_after_signing_out_the_refresh_token_is_worth_nothing(terminal):
    terminal.by_code("ada")
    before = (terminal.home / "sign-ins.json").read_text()
    assert json.loads(terminal.bond("logout", "-o", "json").stdout)["revoked"]
    assert "not signed in" in terminal.bond("whoami", status=4).stderr
    stolen = json.loads(before)
    for each in stolen.values():
        each["expires_at"] = time.time()
    (terminal.home / "sign-ins.json").write_text(json.dumps(stolen))
    assert "sign-in has expired" in terminal.bond("whoami", status=4).stderr


def test_a_sign_in_that_the_person_refuses_is_none(terminal):
    terminal.by_code("ada", agrees=False, status=4)
    assert not (terminal.home / "sign-ins.json").exists()


def test_whoever_holds_the_data_directory_is_told_that_they_need_no_sign_in(platform, terminal):
    written = {"settings": {"api": platform.api}}
    (platform.data / "platform.json").write_text(json.dumps(written))
    assert "need no sign-in" in terminal.bond("--data", str(platform.data), "login", status=2).stderr
