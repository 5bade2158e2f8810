"""Real hosts for Ansible: one sshd on loopback, and a user of its own for each host."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.pinned import ToolMissing
from harness.servers.process import LOOPBACK, Server, free_port, listens

PREFIX: Final = "bondhost"
_PACKAGES: Final = "openssh-server"

_CONFIG: Final = """
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
LogLevel INFO
UseDNS no
MaxStartups 500
MaxSessions 100
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Hosts:
    """Hosts that can be logged in to.

    Args:
        server: The sshd, to kill and to start again.
        port: Where it listens.
        users: One for each host.
        homes: Where the home directories are.
        private_key: Logs in as each of them.
        known_hosts: The host's key.
    """

    server: Server
    port: int
    users: Sequence[str]
    homes: Path
    private_key: str
    known_hosts: str

    def home(self, index: int) -> Path:
        """The home directory of a host's user: what its playbooks change."""
        return self.homes / self.users[index]

    def variables(self, index: int) -> dict[str, Any]:
        """How Ansible reaches a host."""
        return {
            "ansible_host": LOOPBACK,
            "ansible_port": self.port,
            "ansible_user": self.users[index],
            "ansible_python_interpreter": "/usr/bin/python3",  # one login less in each run
        }

    def logins(self, index: int) -> int:
        """How often a host's user has logged in so far."""
        return self.server.log.read_text().count(f"Accepted publickey for {self.users[index]} ")

    def processes(self, index: int) -> list[str]:
        """The command lines that run as a host's user."""
        listed = subprocess.run(
            ["ps", "-u", self.users[index], "-o", "args="], capture_output=True, text=True, check=False
        )
        return [line for line in listed.stdout.splitlines() if line.strip()]


@contextmanager
def running(directory: Path, count: int) -> Iterator[Hosts]:
    """An sshd with its keys and its users' homes in a directory that everybody may pass through.

    Raises:
        ToolMissing: there is no sshd, or whoever runs this may make no users.
        ServerFailed: it does not come up.
    """
    sshd, keygen = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"), shutil.which("ssh-keygen")
    if sshd is None or keygen is None or shutil.which("useradd") is None:
        raise ToolMissing(f"there is no sshd to be a host; `apt-get install {_PACKAGES}` brings it")
    if os.geteuid() != 0:
        raise ToolMissing("hosts need users of their own, which only root can make")
    for name in ("host_key", "user_key"):
        _run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    port = free_port()
    (directory / "homes").mkdir(mode=0o755)
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    (directory / "authorized_keys").chmod(0o644)
    (directory / "sshd_config").write_text(_CONFIG.format(port=port, address=LOOPBACK, directory=directory))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = Server(
        "sshd",
        [sshd, "-D", "-e", "-f", str(directory / "sshd_config")],
        directory / "sshd.log",
        ready=listens(port),
        stop_signal=signal.SIGTERM,
    )
    remove_users_of_the_dead()
    users = [f"{PREFIX}-{os.getpid()}-{index}" for index in range(count)]
    try:
        for user in users:
            home = directory / "homes" / user
            _run("useradd", "--no-log-init", "--create-home", "--home-dir", str(home), "--shell", "/bin/sh",
                 "--password", "*", user)  # fmt: skip
        server.start()
        host_key = (directory / "host_key.pub").read_text().split()
        yield Hosts(
            server,
            port,
            users,
            directory / "homes",
            (directory / "user_key").read_text(),
            f"[{LOOPBACK}]:{port} {host_key[0]} {host_key[1]}\n",
        )
    finally:
        server.kill()
        for user in users:
            _remove(user)


def remove_users_of_the_dead() -> None:
    """Remove users whose process is gone: a test run that was killed has left them."""
    for entry in pwd.getpwall():
        parts = entry.pw_name.split("-")
        if parts[0] == PREFIX and len(parts) == 3 and not Path("/proc", parts[1]).exists():
            _remove(entry.pw_name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _remove(user: str) -> None:
    with contextlib.suppress(KeyError):
        pwd.getpwnam(user)
        subprocess.run(["pkill", "-KILL", "-u", user], check=False, capture_output=True)
        subprocess.run(["userdel", "--force", user], check=False, capture_output=True)
