"""The directory of one attempt, and those that dead attempts left behind.

    work/runs/TEAM/SERVICE/STEP/ATTEMPT/     0700, one attempt
        lock                                 held (flock) for as long as the attempt lives
        attempt.json                         what the next attempt must know if this one dies
        tree/terraform/database/             the module as links into the unpacked revision; Terraform runs here
        tree/modules/ -> …                   what lies beside and above the module, as links
        plan/tfplan, variables.tfvars.json, …
    work/tmp/DIGEST/                         temporary files of one attempt
    work/orphans/                            states that may not be written any more, for a person to look at

An attempt is dead exactly if its lock can be taken: the kernel lets go of it when the process ends, and neither
process ids nor clocks enter into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from bondstone.activities.terraform import step_path
from bondstone.activities.terraform.state import TerraformState, parse_state
from bondstone.base.errors import InvalidInput
from bondstone.base.files import open_lock, write_private
from bondstone.model.service import ServiceId

_BACKEND_OVERRIDE = "bondstone_backend_override.tf"
_NEWBORN_SECONDS = 1
"""How long an attempt may take from making its directory to its first word there, which tells whose it is. It has
started nothing by then: should a worker stand still just there, its attempt fails and is made again."""

DATA_DIRECTORY = ".terraform"
"""Beside the module: paths of modules that `init` has fetched are the same for all attempts."""

LOCK_FILE = ".terraform.lock.hcl"
"""Beside the module, where it ships one: the versions and checksums of its providers."""

_NOT_LINKED = frozenset({"terraform.tfstate", "errored.tfstate", DATA_DIRECTORY})
_TEST = re.compile(r"\.(?:tftest|tofutest)\.(?:hcl|json)$")
_MAX_SOCKET_DIRECTORY = 64
"""The path of a socket may have 107 characters (unix(7)); providers add about thirty to their directory's."""
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What `attempt.json` holds."""

    attempt: str
    verb: str
    base: int = 0
    """Position in the state log of the state the attempt started from."""
    pid: int = 0
    """The last Terraform it started, leader of its own session."""
    keep: bool = False
    """Left behind on purpose, for a person."""


class RunDirectory:
    """The directory of one attempt; this process holds its lock until `close` or `abandon`."""

    def __init__(self, path: Path, lock: int, record: AttemptRecord, module: str) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        self._module = module
        self._link: Path | None = None
        self._noted: tuple[AttemptRecord, bool] | None = None
        """What is written down, and whether it outlives a power cut."""
        self.temporary = _temporary(path)
        """The attempt's own directory for temporary files: of a short name, because sockets go there."""

    @classmethod
    def create(
        cls,
        work: Path,
        service: ServiceId,
        step: str,
        *,
        attempt: str,
        verb: str,
        bundle: Path,
        module: str,
        has_own_backend: bool = False,
    ) -> RunDirectory:
        """Make the directory of a new attempt, with the module linked into it; with `own`, its backend counts.

        Raises:
            InvalidInput: when the module's path leads out of the promise or to no directory.
        """
        path = step_directory(work, service, step) / f"{_plain(attempt)}.{verb}"
        path.mkdir(parents=True, mode=0o700)
        lock = open_lock(path / "lock")
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = cls(path, lock, AttemptRecord(attempt, verb), module)
        try:
            run.note()
            run.plan_file.parent.mkdir(mode=0o700)
            run.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            link_module(bundle, module, path / "tree")
            if not has_own_backend:
                override_backend(run.module)
        except BaseException:
            run.close()
            raise
        return run

    @property
    def module(self) -> Path:
        """Where Terraform runs."""
        return self.path / "tree" / self._module

    @property
    def plan_file(self) -> Path:
        """The saved plan."""
        return self.path / "plan" / "tfplan"

    @property
    def writable(self) -> tuple[Path, ...]:
        """What Terraform and the module may change. The rest of the directory is the worker's, which trusts it."""
        return self.path / "tree", self.plan_file.parent, self.path / "data", self.temporary

    @property
    def state_file(self) -> Path:
        """The state as Terraform writes it."""
        return self.module / "terraform.tfstate"

    def note(self, *, base: int | None = None, pid: int | None = None, keep: bool | None = None) -> None:
        """Write down what the next attempt must know, before it can matter.

        A power cut ends every process: what is left of an apply then is its state and where that came from, and of
        a plan nothing.
        """
        now = self.record
        self.record = replace(
            now,
            base=now.base if base is None else base,
            pid=now.pid if pid is None else pid,
            keep=now.keep if keep is None else keep,
        )
        # the first word is said before anything is started
        flush = self._noted is not None and (now.verb == "apply" or keep is not None)
        if self._noted in {(self.record, flush), (self.record, True)}:
            return
        content = json.dumps({**asdict(self.record), "module": self._module})
        write_private(self.path / "attempt.json", content.encode(), flush=flush)
        self._noted = self.record, flush

    def link_data(self, data: Path) -> None:
        """Let Terraform find there what `init` has prepared."""
        link = self.module / DATA_DIRECTORY
        link.unlink(missing_ok=True)
        link.symlink_to(data)

    def take(self, link: Path) -> None:
        """Be reached by a link, the same for all attempts of a step; see `step_path`."""
        if step_path.lead_to(link, self.path):
            self._link = link

    @property
    def named(self) -> Path:
        """Where Terraform runs, by the name that modules may see."""
        return (self._link or self.path) / "tree" / self._module

    def write_variables(self, variables: dict[str, object]) -> Path:
        """Write the values of the module's variables; `drop_variables` removes them."""
        file = self.path / "variables.tfvars.json"
        write_private(file, json.dumps(variables).encode(), flush=False)
        return file

    def drop_variables(self) -> None:
        """Remove the values of the variables, secrets among them."""
        (self.path / "variables.tfvars.json").unlink(missing_ok=True)

    def write_state(self, raw: bytes) -> None:
        """Put the state there that Terraform shall start from."""
        write_private(self.state_file, raw, flush=False)

    def lock_file(self) -> bytes | None:
        """The dependency lock file beside the module; None when there is none."""
        try:
            return (self.module / LOCK_FILE).read_bytes()
        except OSError:
            return None

    def write_lock_file(self, content: bytes) -> None:
        """Put a dependency lock file of the run's own beside the module."""
        write_private(self.module / LOCK_FILE, content, flush=False)

    def write_plan(self, saved: bytes) -> None:
        """Put the plan there that Terraform shall apply."""
        write_private(self.plan_file, saved, flush=False)

    def newest_state(self) -> TerraformState | None:
        """The newest whole state in the directory, also one that Terraform could not write to its usual place."""
        states = [
            state
            for name in ("terraform.tfstate", "errored.tfstate")
            if (state := parse_state(read_inside(self.path, self.module / name))) is not None
        ]
        return max(states, key=lambda state: state.serial, default=None)

    def close(self) -> None:
        """Remove the directory and let go of it."""
        self._unlink()
        shutil.rmtree(self.temporary, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def abandon(self) -> None:
        """Leave the directory as it is: the next attempt on this host will find it."""
        self._unlink()
        self.drop_variables()
        shutil.rmtree(self.temporary, ignore_errors=True)
        os.close(self._lock)

    def keep(self) -> None:
        """Leave the directory for a person to look at; the next attempt does not touch it."""
        self.note(keep=True)
        self.abandon()

    def orphan(self, orphans: Path) -> Path:
        """Move it out of the way with its state, for a person to look at."""
        orphans.mkdir(parents=True, exist_ok=True, mode=0o700)
        service_step = "_".join(self.path.parts[-4:-1])
        target = orphans / f"{service_step}_{self.path.name}"
        self._unlink()
        self.drop_variables()
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.path.rename(target)
        os.close(self._lock)
        return target

    def _unlink(self) -> None:
        if self._link is not None:
            step_path.remove(self._link, self.path)
            self._link = None


def step_directory(work: Path, service: ServiceId, step: str) -> Path:
    """Where the attempts of one step of one service live."""
    return work / "runs" / service.team / service.name / step


def dead_runs(work: Path, service: ServiceId, step: str) -> Iterator[RunDirectory]:
    """The directories that dead attempts left on this host, oldest first; each is locked for the caller."""
    try:
        paths = sorted(step_directory(work, service, step).iterdir(), key=lambda path: path.stat().st_mtime)
    except FileNotFoundError:
        return
    for path in paths:
        if (run := _take_over(path)) is not None:
            yield run


def sweep_plans(work: Path) -> int:
    """Remove what dead plans left on this host: there is nothing to recover in it, and secrets may be.

    Returns:
        How many were removed.
    """
    removed = 0
    for path in work.glob("runs/*/*/*/*"):
        if path.suffix != ".apply" and (run := _take_over(path)) is not None:
            run.close()
            removed += 1
    return removed


def link_module(bundle: Path, module: str, tree: Path) -> None:
    """Lay out a promise for a run: the module as real directories of links, all around it as plain links.

    Real directories because Terraform writes beside the module's files, and because its `fileset` does not
    follow links to directories; what is around it because a module may say `../shared`.

    Raises:
        InvalidInput: when the module's path leads out of the promise or to no directory.
    """
    if not (bundle / module_path(module)).is_dir():
        raise InvalidInput(f"the promise has no module directory {module!r}")
    here, target = bundle, tree
    target.mkdir(mode=0o700)
    for part in module_path(module).parts:
        for entry in here.iterdir():
            if entry.name != part:
                (target / entry.name).symlink_to(entry)
        here, target = here / part, target / part
        target.mkdir(mode=0o700)
    _link_tree(here, target)


def override_backend(module: Path) -> None:
    """Have a module that was laid out keep its state beside it, whatever backend it names."""
    (module / _BACKEND_OVERRIDE).write_text('terraform {\n  backend "local" {}\n}\n')


def module_path(module: str) -> PurePosixPath:
    """The path of a module inside the promise.

    Raises:
        InvalidInput: when it leads out of the promise.
    """
    path = PurePosixPath(module)
    if path.is_absolute() or ".." in path.parts or "\\" in module:
        raise InvalidInput(f"the module path {module!r} must be relative to the promise and stay inside it")
    return path


def is_test_file(name: str) -> bool:
    """Whether a file holds tests of a module: `init` reads them, and fails on a broken one."""
    return _TEST.search(name) is not None


def _link_tree(here: Path, target: Path) -> None:
    for entry in os.scandir(here):
        if entry.name in _NOT_LINKED or is_test_file(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            (target / entry.name).mkdir(mode=0o700)
            _link_tree(Path(entry.path), target / entry.name)
        else:
            (target / entry.name).symlink_to(entry.path)


def _take_over(path: Path) -> RunDirectory | None:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        _remove_unless_newborn(path)  # it has no lock yet, or is being removed this very moment
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = json.loads((path / "attempt.json").read_bytes())
        module = str(content.pop("module"))
        record = AttemptRecord(**content)
    except BlockingIOError:
        os.close(lock)
        return None
    except (OSError, ValueError, TypeError, KeyError):
        # it died before it had written its first word and has started nothing, or is about to write it
        _remove_unless_newborn(path)
        os.close(lock)
        return None
    if record.keep:
        os.close(lock)
        return None
    return RunDirectory(path, lock, record, module)


def _remove_unless_newborn(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _NEWBORN_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def read_inside(directory: Path, file: Path) -> bytes | None:
    """The content of a regular file that a tool may have put anything in place of; None where it leads elsewhere.

    Args:
        directory: What it must lie in, links followed.
        file: Its path.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as reader:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        opened = Path(f"/proc/self/fd/{descriptor}")
        # what was opened, not what stands there now: a directory on the way may be a link, and another by now
        real = opened.readlink() if opened.exists() else file.resolve()
        return reader.read() if real.is_relative_to(directory.resolve()) else None


def _temporary(path: Path) -> Path:
    name = hashlib.sha256(str(path).encode()).hexdigest()[:10]
    place = path.parents[4] / "tmp"  # the work directory's
    if len(str(place)) > _MAX_SOCKET_DIRECTORY:
        place = Path(tempfile.gettempdir())
        name = f"bondstone-{name}"
    return place / name


def _plain(attempt: str) -> str:
    digest = hashlib.sha256(attempt.encode()).hexdigest()[:8]
    return f"{_SAFE.sub('-', attempt)[-60:]}-{digest}"
