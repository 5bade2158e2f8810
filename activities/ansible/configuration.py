"""How `ansible-playbook` is configured: what the executor must have, and beyond that what the promise says.

An `ansible.cfg` beside the playbook wins over every default here. It does not win over what the executor promises:
private directories, its own stdout plugin, host keys that are checked, no arguments in the hosts' system log.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bondstone.activities.ansible.documents import AnsiblePlan
from bondstone.activities.tooling.scratch import RUN_MARK

Mode = Literal["check", "apply"]
Configured = Mapping[str, Mapping[str, str]]
"""An `ansible.cfg`: sections of keys."""
Keys = tuple[tuple[str, str], ...]
"""Where an `ansible.cfg` says it: section and key."""

CALLBACKS: Final = Path(__file__).with_name("callback")
SOCKETS: Final = "BONDSTONE_SOCKETS"
"""Variable that names the directory of ssh's sockets: the shim closes these connections when the worker dies."""
MODULES: Final = "BONDSTONE_MODULES"
"""Variable that names the directory where the runs of one attempt share the modules they have packed: the callback
plugin reads it."""

_PERSISTENT: Final = "-C -o ControlMaster=auto -o ControlPersist=60s"
"""Ansible's own default: a connection stays open for the next task."""
CONFIGURATION: Final = b"[defaults]\ninternal_poll_interval = 0.01\n"
"""The `ansible.cfg` where the promise has none. By default Ansible looks a thousand times a second whether a task
has ended, which takes 3 % of a core from every playbook that waits; no variable sets this."""
_PIPELINING: Final[Keys] = (
    ("defaults", "pipelining"),
    ("connection", "pipelining"),
    ("ssh_connection", "pipelining"),
)


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """Where one run of a playbook has its files.

    Args:
        run: The attempt's directory; its runs share connections and packed modules.
        directory: This run's own.
        sockets: Where ssh keeps its connections open.
        bundle: The promise.
    """

    run: Path
    directory: Path
    sockets: Path
    bundle: Path

    @property
    def modules(self) -> Path:
        """Where the attempt's runs keep modules that are packed."""
        return self.run / "modules"


def environment(plan: AnsiblePlan, mode: Mode, places: RunPlaces) -> dict[str, str]:
    """What the executor sets: no configuration that the worker's user or machine has.

    Args:
        plan: What is run.
        mode: How.
        places: Where.
    """
    directory = places.directory
    beside = (places.bundle / plan.playbook).parent / "ansible.cfg"
    theirs = read(beside)
    files = {
        "ANSIBLE_PRIVATE_KEY_FILE": "private_key" if plan.private_key else "",
        "ANSIBLE_VAULT_PASSWORD_FILE": "vault_password" if plan.vault_password else "",
    }
    return {
        **{name: str(directory / file) for name, file in files.items() if file},
        **_defaults(mode, places, theirs),
        # an inventory written in the step is YAML: each kind more costs its documentation to be read
        **({} if isinstance(plan.inventory, str) else {"ANSIBLE_INVENTORY_ENABLED": "yaml"}),
        RUN_MARK: str(places.run),
        MODULES: str(places.modules),
        SOCKETS: str(places.sockets),
        "TMPDIR": str(directory),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CONFIG": str(beside if beside.is_file() else directory / "ansible.cfg"),
        "ANSIBLE_HOME": str(directory / "home"),
        "ANSIBLE_HOST_KEY_CHECKING": "1",
        "ANSIBLE_NOCOLOR": "1",
        # what a module is told, secrets included, would be in the host's system log
        "ANSIBLE_NO_TARGET_SYSLOG": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_SSH_ARGS": _ssh_arguments(plan, directory, theirs),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(places.sockets),
        "ANSIBLE_STDOUT_CALLBACK": "bondstone_events",
    }


def read(file: Path) -> Configured:
    """What an `ansible.cfg` says; nothing where there is none, or where Ansible itself will refuse it."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _defaults(mode: Mode, places: RunPlaces, theirs: Configured) -> dict[str, str]:
    """What the promise may set otherwise: a variable would win over its file, so none is set for those."""
    defaults: list[tuple[str, str, Keys]] = [
        (
            "ANSIBLE_COLLECTIONS_PATH",
            f"{places.bundle / 'collections'}:/usr/share/ansible/collections",
            (("defaults", "collections_path"),),
        ),
        ("ANSIBLE_DEPRECATION_WARNINGS", "0", (("defaults", "deprecation_warnings"),)),
        ("ANSIBLE_PYTHON_INTERPRETER", "auto_silent", (("defaults", "interpreter_python"),)),
    ]
    if mode == "check":
        # A module goes to the host in one command instead of six. Not where something is changed: without a
        # terminal a command on the host hears nothing of a cancel, and continues.
        defaults.append(("ANSIBLE_PIPELINING", "1", _PIPELINING))
    return {
        name: value
        for name, value, keys in defaults
        if not any(key in theirs.get(section, {}) for section, key in keys)
    }


def _ssh_arguments(plan: AnsiblePlan, directory: Path, theirs: Configured) -> str:
    """Options of ours, then those of the promise: ssh takes the first of each that it reads."""
    ours = ["-o StrictHostKeyChecking=yes"]
    if plan.known_hosts:
        ours.append(f"-o UserKnownHostsFile={directory / 'known_hosts'}")
    if plan.private_key:
        ours.append("-o IdentitiesOnly=yes")
    return " ".join([*ours, theirs.get("ssh_connection", {}).get("ssh_args", _PERSISTENT)])
