"""Which files of a playbook's or a role's folder stay out of a promise: keys, vault passwords and inventories."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import yaml

from bondstone.activities.ansible.configuration import read
from bondstone.executors.scaffold import NOT_COPIED

_HEAD_BYTES: Final = 64 << 10
_VAULT_PASSWORD: Final = re.compile(r"(^|[._-])vault[._-]?(pass|passwd|password|pw)([._-].*)?$", re.IGNORECASE)
_NO_PASSWORDS: Final = frozenset({".yml", ".yaml", ".j2", ".md"})
_PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
_PUBLIC: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*CERTIFICATE|[A-Z0-9 ]*PUBLIC KEY( BLOCK)?)-----")
_KEY_FILES: Final = ("*.key", "*.pem", "*.p12", "*.pfx", "*.jks")
_ENCRYPTED: Final = b"$ANSIBLE_VAULT;"
_TEMPLATED: Final = b"{{"
_INVENTORIES: Final = ("hosts", "hosts.*", "inventory", "inventory.*", "inventories")
_INI_ENDINGS: Final = ("", ".ini", ".cfg", ".txt")
_HOST_LINE: Final = re.compile(rb"^[^#;\n]*\bansible_(host|user|connection|password|ssh_pass)\s*=", re.MULTILINE)


def left_out(folder: Path, *, playbook: str = "") -> dict[str, str]:
    """What is not copied, and why.

    Args:
        folder: Of a playbook or a role.
        playbook: Name of the playbook, whose folder may hold inventories; empty for a role.

    Returns:
        The reason by path, relative to the folder; a folder's counts for all in it.
    """
    passwords = _vault_passwords(folder)
    inventories = _named(folder, "inventory") if playbook else frozenset()
    omitted: dict[str, str] = {}
    for path in _paths(folder, folder, omitted, frozenset()):
        name = path.relative_to(folder).as_posix()
        if name == playbook:
            continue
        at_top = bool(playbook) and "/" not in name
        if name in inventories or (at_top and _is_inventory(path)):
            omitted[name] = "an inventory; the step has its own"
        elif path.is_file() and (reason := _secret(path, is_password=name in passwords)):
            omitted[name] = reason
    return omitted


def _paths(folder: Path, root: Path, omitted: dict[str, str], above: frozenset[Path]) -> Iterator[Path]:
    """Everything in a folder that is copied; what its reader has left out is not entered."""
    real = folder.resolve()
    if real in above:  # a link to where it is in
        return
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if any(fnmatch(path.name, pattern) for pattern in NOT_COPIED):
            omitted[name] = "no part of what a playbook runs"
            continue
        yield path
        if path.is_dir() and name not in omitted:
            yield from _paths(path, root, omitted, above | {real})


def _secret(path: Path, *, is_password: bool) -> str:
    """Why a file is a secret; empty when it is none. What `ansible-vault` has encrypted may be shown."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_ENCRYPTED):
        return ""
    if is_password:
        return "a vault password that ansible.cfg names; remove that line, and give the step a `vault_password`"
    if _VAULT_PASSWORD.search(path.name) and path.suffix not in _NO_PASSWORDS:
        return "a vault password; give the step a `vault_password`, an input that is writeOnly"
    if _PRIVATE.search(head) and _TEMPLATED not in head:
        return "a private key; an input that is writeOnly can be one, in `private_key` or `vars` of the step"
    if any(fnmatch(path.name.lower(), pattern) for pattern in _KEY_FILES) and not _PUBLIC.search(head):
        return "it looks like a private key"
    return ""


def _is_inventory(path: Path) -> bool:
    if path.is_dir():
        return any(fnmatch(path.name, pattern) for pattern in _INVENTORIES)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if path.suffix in {".yml", ".yaml"}:
        content = _yaml(head)
        if not isinstance(content, dict):  # a playbook is a list, also one that is called hosts.yml
            return False
        return isinstance(content.get("all"), dict) and bool({"hosts", "children"} & content["all"].keys())
    if any(fnmatch(path.name, pattern) for pattern in _INVENTORIES):
        return not head.startswith(b"#!") and path.suffix in _INI_ENDINGS
    return path.suffix in _INI_ENDINGS and bool(_HOST_LINE.search(head))


def _yaml(text: bytes) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):  # cut off, encrypted, or with tags: no plain inventory
        return None


def _vault_passwords(folder: Path) -> frozenset[str]:
    labelled = _named(folder, "vault_identity_list")
    files = {name.rpartition("@")[2] for name in labelled}
    return _named(folder, "vault_password_file") | {os.path.normpath(name) for name in files if name}


def _named(folder: Path, key: str) -> frozenset[str]:
    """Files that the folder's `ansible.cfg` names, relative to it."""
    text = read(folder / "ansible.cfg").get("defaults", {}).get(key, "")
    return frozenset(os.path.normpath(name.strip()) for name in text.split(",") if name.strip())
