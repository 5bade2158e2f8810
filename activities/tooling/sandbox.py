"""What of the file system a tool may touch: its own run, what it needs of the machine, nothing of the platform.

Where the kernel has Landlock, tools run in it. Everything is refused that is not granted here:

- read: the system (`/usr`, `/etc`, …), this Python, the tool itself, the programs on PATH, settings of tools in
  the home directory (`~/.aws`, `~/.kube`, …), files and directories that a variable names which the tool may see,
  and the pool's `tool_readable_paths`;
- change: what the run names (its own directory), devices like `/dev/null`, the machine's `/tmp`, and the pool's
  `tool_writable_paths`.

What belongs to the platform (the data directory, key rings, a store on this disk, other runs and revisions) is
never part of a grant that happens to lie above it; a run's own parts of it are granted by name. The network and
sockets are not restricted.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bondstone.activities.tooling import landlock
from bondstone.base.errors import SettingsInvalid
from bondstone.base.settings import Settings

_SYSTEM: Final = (
    "/bin", "/etc", "/gnu/store", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/opt", "/proc", "/sbin",
    "/snap", "/sys", "/usr", "/var/lib/ca-certificates", "/var/lib/dpkg", "/run/current-system", "/run/nscd",
    "/run/NetworkManager", "/run/resolvconf", "/run/systemd/resolve", "/run/wrappers",
)  # fmt: skip
_DEVICES: Final = ("full", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero")
_TEMPORARY: Final = "/tmp"  # noqa: S108 - the machine's, for programs that know no other

_HOME: Final = (
    ".ansible.cfg", ".aws", ".azure", ".config/gcloud", ".config/helm", ".config/openstack", ".docker/config.json",
    ".kube", ".oci", ".terraform.d", ".terraformrc", ".tofurc", ".vault-token",
)  # fmt: skip
_IN_LOCAL: Final = (".local/lib", ".local/opt", ".local/share/mise", ".local/share/pipx", ".local/share/uv")
_FETCHING: Final = (".config/git", ".git-credentials", ".gitconfig", ".netrc", ".ssh")
"""In the home directory: what fetches modules, and nothing else, needs."""

_OF_ONE_RUN: Final = re.compile(
    "BONDSTONE_RUN|HELM_.*_HOME|OLDPWD|PWD|TF_DATA_DIR|TF_PLUGIN_CACHE_DIR|TMPDIR|TRACE.*"
)
"""Variables that name what a run has of its own: it says itself what it may touch of that."""
_FRESH_SECONDS: Final = 30
_ABSOLUTE: Final = re.compile(r'"(/[^"]+)"')


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What one process may touch, and all that it starts."""

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()

    def enter(self) -> None:
        """Restrict the calling thread, and what it starts from now on, for good."""
        landlock.restrict_thread(self.readable, self.writable)


def describe(settings: Settings) -> str:
    """In words, what keeps tools from the platform's files on this machine: for `bond status` and logs."""
    if settings.tool_sandbox == "off":
        return "none (tool_sandbox is off)"
    version = landlock.abi()
    if not version:
        return "none (this kernel has no Landlock)"
    also = " and signals" if version >= landlock.SIGNAL_ABI else ""
    return f"Landlock {version}: files{also}"


def check(settings: Settings) -> None:
    """Refuse to work without a sandbox where the settings demand one.

    Raises:
        SettingsInvalid: when there is none.
    """
    if settings.tool_sandbox == "required" and not landlock.abi():
        raise SettingsInvalid(
            "tool_sandbox is `required`, and this kernel has no Landlock",
            hint="run the worker on Linux 5.19 or newer with `landlock` among its security modules, or say "
            "BOND_TOOL_SANDBOX=auto to let tools run without a sandbox",
        )


def sandbox(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    readable: Iterable[Path] = (),
    writable: Iterable[Path] = (),
    program: str = "",
    fetching: bool = False,
) -> Sandbox | None:
    """The sandbox of one process; None where there can be none, or the settings want none.

    Args:
        settings: Of the worker.
        environment: All that the process sees of variables.
        readable: What this run needs of the platform's own files: its revision, its caches.
        writable: The run's own directories.
        program: The tool.
        fetching: It fetches modules, and runs none of them.
    """
    check(settings)
    if settings.tool_sandbox == "off" or not landlock.abi():
        return None
    shared = _shared(
        _Pool.of(settings),
        tuple(sorted((name, value) for name, value in environment.items() if not _OF_ONE_RUN.fullmatch(name))),
        program,
        _FETCHING if fetching else (),
        int(time.monotonic() // _FRESH_SECONDS),
    )
    return Sandbox((*shared.readable, *readable), (*shared.writable, *writable))


@dataclass(frozen=True, slots=True)
class _Pool:
    """What of the settings decides: hashable, so that what is worked out can be kept."""

    platform: tuple[Path, ...]
    store: str
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]

    @classmethod
    def of(cls, settings: Settings) -> _Pool:
        names = [name for name in type(settings).model_fields if name != "health_file"]
        folders = [value for name in names if isinstance(value := getattr(settings, name), Path)]
        return cls(
            (*folders, settings.key_file, settings.work_dir),
            settings.store_url,
            settings.tool_readable_paths,
            settings.tool_writable_paths,
        )

    def protected(self) -> tuple[Path, ...]:
        parts = urlsplit(self.store)
        store = [Path(unquote(parts.path))] if parts.scheme == "file" else []
        return tuple(sorted({path.expanduser().resolve() for path in (*self.platform, *store)}))


@lru_cache(maxsize=32)
def _shared(
    pool: _Pool,
    variables: tuple[tuple[str, str], ...],
    program: str,
    in_home: tuple[str, ...],
    _when: int,
) -> Sandbox:
    """What all runs of a pool have in common, worked out anew twice a minute."""
    environment = dict(variables)
    protected = pool.protected()
    home = Path(environment.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - never fails
    outside = [
        *_machine(program),
        *(home / name for name in (*_HOME, *in_home)),
        *_named_by(environment, home),
    ]
    readable = [path.expanduser() for path in pool.readable]
    writable = [_made(path) for path in pool.writable]
    return Sandbox(
        _standing(
            (*_outside(outside, protected), *(each for path in readable for each in _around(path, protected)))
        ),
        _standing(
            (
                *(Path("/dev", name) for name in _DEVICES),
                *(each for path in writable for each in _around(path, protected)),
                *_outside([Path(_TEMPORARY)], protected, whole=True),
            )
        ),
    )


def _standing(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those that exist, without those that lie below another."""
    folders: list[Path] = []
    for path in sorted({path for path in paths if path.exists()}):
        if not folders or not any(path.is_relative_to(item) for item in folders):
            folders.append(path)
    return tuple(folders)


def protected_paths(settings: Settings) -> tuple[Path, ...]:
    """The platform's own files and directories on this machine, links followed."""
    return _Pool.of(settings).protected()


def is_free(settings: Settings, path: Path) -> bool:
    """Whether a promise may name this directory: no part of the platform or the system, and above neither."""
    real = path.resolve()
    taken = [*protected_paths(settings), *(Path(name) for name in (*_SYSTEM, "/boot", "/dev"))]
    return not any(real.is_relative_to(item) or item.is_relative_to(real) for item in taken)


@lru_cache(maxsize=16)
def _machine(program: str) -> tuple[Path, ...]:
    """What every process needs: the system, this Python (the shim runs in it), programs on PATH, the tool."""
    folders = [Path(name) for name in _SYSTEM]
    folders += [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parent]
    for name in os.environ.get("PATH", "").split(os.pathsep):
        if name.startswith("/"):
            folders += [Path(name), *_version_manager(Path(name))]
    for name in (program, sys.executable):
        if name and (path := shutil.which(name) or name):
            folders += [Path(path).parent, Path(path).resolve().parent]
    return tuple(dict.fromkeys(folders))


def _version_manager(directory: Path) -> Iterator[Path]:
    """Where the programs lead to that version managers put on PATH: `~/.pyenv/shims` to all of `~/.pyenv`."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - never fails
    if directory.is_relative_to(home) and directory != home:
        first = directory.relative_to(home).parts[0]
        yield from (home / name for name in (_IN_LOCAL if first == ".local" else (first,)))


def _named_by(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Files and directories that variables name: credentials, certificates, configuration, and what it names."""
    for name, value in environment.items():
        if name in {"HOME", "PATH"}:
            continue
        for text in value.split(os.pathsep):
            path = Path(text.replace("~", str(home), 1) if text.startswith("~/") else text)
            if path.is_absolute() and path not in {home, Path("/")}:
                yield path
    files = [environment.get("TF_CLI_CONFIG_FILE") or str(home / ".terraformrc"), str(home / ".tofurc")]
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield from (Path(path) for path in _ABSOLUTE.findall(text))  # mirrors and caches of providers


def _outside(paths: Iterable[Path], protected: tuple[Path, ...], *, whole: bool = False) -> Iterator[Path]:
    """Those of some paths that are no part of what is protected.

    Args:
        paths: Shared by all runs.
        protected: What none of them may include.
        whole: Leave out a directory above something protected, instead of granting what is beside it.
    """
    for path in paths:
        real = path.resolve()
        if any(real.is_relative_to(item) for item in protected):
            continue
        if whole and any(item.is_relative_to(real) for item in protected):
            continue
        yield from _around(real, protected)


def _around(path: Path, protected: tuple[Path, ...]) -> Iterator[Path]:
    """A path, or where something protected lies below it, everything beside that."""
    real = path.resolve()
    inside = [item for item in protected if item != real and item.is_relative_to(real)]
    if real in protected:
        return
    if not inside:
        yield real
        return
    try:
        entries = sorted(real.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry not in protected and not entry.is_symlink():
            yield from _around(entry, protected)


def _made(path: Path) -> Path:
    """The directory, made if it is missing: a grant needs something to stand on."""
    folder = path.expanduser().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
