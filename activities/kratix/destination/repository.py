"""A branch of a remote repository, by git's own plumbing: nothing is checked out, one folder alone is touched."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bondstone.activities.kratix.destination.documents import DestinationFolder
from bondstone.activities.tooling.environment import allowed_environment
from bondstone.activities.tooling.process import capture, tied
from bondstone.base.errors import BondError, StepTimedOut, ToolFailed, ToolUnavailable, Unreachable
from bondstone.base.redact import Redactor
from bondstone.base.settings import Settings

_LET_THROUGH: Final = ("GIT_ASKPASS", "GIT_SSH", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME")
_CONFIGURATION: Final = (
    "core.hooksPath=/dev/null", "core.autocrlf=false", "core.symlinks=false", "core.quotePath=false",
    "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false",
)  # fmt: skip
"""What the worker's own configuration must not change of the bytes that are pushed, or run beside them."""
_NETWORK: Final = re.compile(
    r"could not resolve|connection (refused|reset|timed out|closed)|failed to connect|operation timed out"
    r"|network is unreachable|no route to host|unexpected disconnect|returned error: 5\d\d|hung up unexpectedly",
    re.IGNORECASE,
)
_AUTHOR: Final = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "Bondstone"), ("EMAIL", "bondstone@localhost"))
}


@dataclass(slots=True)
class Repository:
    """One attempt's view of a branch, in a folder that is the attempt's alone.

    Args:
        place: The folder of the branch.
        directory: An empty folder of this attempt.
        settings: Of the worker.
        time_seconds: How long one command of git may take.
        redact: Masks secrets in git's words.
    """

    tool: ClassVar[str] = "git push"
    another_came_first: ClassVar[str] = "another push came first: the commit is made again on top of it"

    place: DestinationFolder
    directory: Path
    settings: Settings
    time_seconds: int
    redact: Redactor
    _program: str = field(default="", init=False)
    _tip: str = field(default="", init=False)
    """The commit that `newest` has read."""
    _listing: dict[str, str] = field(default_factory=dict, init=False)
    _tree: str = field(default="", init=False)
    """Of the files that were prepared."""

    async def open(self) -> None:
        """Make the local side.

        Raises:
            ToolUnavailable: when the worker has no git.
        """
        program = shutil.which("git")
        if program is None:
            raise ToolUnavailable(
                "there is no git on this worker's PATH, which a step with a destination needs",
                hint="install git on the workers of the pool",
            )
        self._program = program
        await asyncio.to_thread((self.directory / "empty").mkdir)
        await self._git("init", "--quiet", "--template=")
        attributes = self.directory / "repository" / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("* -text -filter -ident -working-tree-encoding -export-subst\n")

    async def make_remote(self) -> None:
        """Make the remote side, if it is not there: for a test of the promise."""
        path = url2pathname(urlsplit(self.place.url).path)
        await self._git("init", "--quiet", "--bare", "--template=", "--", path, is_remote=True)

    async def newest(self) -> dict[str, str]:
        """What stands in the folder now: mode and object of each file, by its path below the folder."""
        self._tip = await self.tip()
        self._listing = await self.listing(self._tip)
        return self._listing

    async def texts(self) -> dict[str, str]:
        """The texts of what `newest` has read."""
        return await self.contents(self._tip, self._listing)

    async def prepare(self, files: Mapping[str, str]) -> dict[str, str]:
        """Take the files that there shall be; mode and object of each by path."""
        self._tree, listing = await self.tree(files)
        return listing

    async def write(self, message: str, still_held: Callable[[], None]) -> str:
        """Push a commit that makes the folder what was prepared; nothing when another push came first.

        Args:
            message: Of the commit.
            still_held: Called before the push; raises when this attempt may change nothing any more.
        """
        commit = await self.commit(self._tip, self._tree, message)
        still_held()
        return f"pushed commit {commit}" if await self.push(commit) else ""

    def is_half_written(
        self, live: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]
    ) -> bool:
        """Never: a commit is there or not."""
        del live, before, after
        return False

    def beaten(self, tries: int) -> BondError:
        """The error when another push always came first."""
        return ToolFailed(
            f"each of {tries} pushes to branch {self.place.branch} came after another one",
            where=str(self.place),
            hint="`bond service retry` tries again; a branch with fewer writers is better",
        )

    async def tip(self) -> str:
        """The newest commit of the branch, fetched; empty when the branch is not there."""
        ref = f"refs/heads/{self.place.branch}"
        listed = await self._git("ls-remote", "--", self.place.url, ref)
        if not listed.strip():
            return ""
        await self._git("fetch", "--quiet", "--depth=1", "--no-tags", "--", self.place.url, ref)
        return (await self._git("rev-parse", "FETCH_HEAD")).strip()

    async def listing(self, tip: str) -> dict[str, str]:
        """What stands in the folder: mode and object of each file, by its path below the folder."""
        if not tip:
            return {}
        prefix = f"{self.place.folder}/"
        return _listed(await self._git("ls-tree", "-r", "-z", "--full-tree", tip, prefix), prefix)

    async def contents(self, tip: str, listing: Mapping[str, str]) -> dict[str, str]:
        """The texts of the files that stand in the folder; what is no text is shown with marks in its place."""
        if not listing:
            return {}
        target = self.directory / "standing"
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        await self._git("read-tree", f"{tip}:{self.place.folder}", index="standing")
        await self._git("checkout-index", "--all", "--force", f"--prefix={target}/", index="standing")
        return {
            path: (target / path).read_bytes().decode("utf-8", "replace")
            for path, entry in listing.items()
            if not entry.startswith("160000")
        }

    async def tree(self, files: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Files as git keeps them: the object of their folder, empty for none; mode and object of each by path."""
        if not files:
            return "", {}
        target = self.directory / "files"
        await asyncio.to_thread(_write, target, files)
        await self._git("add", "--all", "--force", "--", ".", index="files", work_tree=target)
        tree = (await self._git("write-tree", index="files")).strip()
        return tree, _listed(await self._git("ls-tree", "-r", "-z", "--full-tree", tree), "")

    async def commit(self, tip: str, tree: str, message: str) -> str:
        """A commit after `tip` in which the folder is exactly that tree (empty: gone), and all else as it was."""
        await asyncio.to_thread((self.directory / "index-next").unlink, missing_ok=True)
        await self._git("read-tree", *([tip] if tip else ["--empty"]), index="next")
        folder = f":(literal){self.place.folder}"
        await self._git(
            "rm", "-r", "--cached", "--force", "--quiet", "--ignore-unmatch", "--", folder, index="next"
        )
        if tree:
            await self._git("read-tree", f"--prefix={self.place.folder}/", tree, index="next")
        root = (await self._git("write-tree", index="next")).strip()
        return (await self._git("commit-tree", root, *(["-p", tip] if tip else []), "-m", message)).strip()

    async def push(self, commit: str) -> bool:
        """Make a commit the branch's newest; False when another push came first.

        Raises:
            ToolFailed: when the server refuses it for another reason: a protected branch, a hook.
        """
        ref = f"refs/heads/{self.place.branch}"
        code, out, complaint = await self._run("push", "--porcelain", "--", self.place.url, f"{commit}:{ref}")
        if code == 0:
            return True
        refused = next((line for line in out.splitlines() if line.startswith("!")), "")
        if "[rejected]" in refused or "cannot lock ref" in refused or "failed to update ref" in refused:
            return False
        raise self._failure("push", f"{refused} {complaint}")

    async def _git(
        self, *arguments: str, index: str = "none", work_tree: Path | None = None, is_remote: bool = False
    ) -> str:
        code, out, complaint = await self._run(*arguments, index=index, work_tree=work_tree, is_remote=is_remote)
        if code != 0:
            raise self._failure(arguments[0], complaint)
        return out

    async def _run(
        self, *arguments: str, index: str = "none", work_tree: Path | None = None, is_remote: bool = False
    ) -> tuple[int, str, str]:
        where = work_tree or self.directory / "empty"
        environment = {
            **allowed_environment(os.environ, [*_LET_THROUGH, *self.settings.tool_environment]),
            **_AUTHOR,
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        if not is_remote:
            environment |= {
                "GIT_DIR": str(self.directory / "repository"),
                "GIT_WORK_TREE": str(where),
                "GIT_INDEX_FILE": str(self.directory / f"index-{index}"),
            }
        options = [word for setting in _CONFIGURATION for word in ("-c", setting)]
        try:
            async with asyncio.timeout(self.time_seconds):
                code, out, complaint = await capture(
                    tied([self._program, *options, *arguments]), where, environment, tool="git", verb=arguments[0]
                )
        except TimeoutError:
            raise StepTimedOut(
                f"git {arguments[0]} has not ended in {self.time_seconds} s", where=str(self.place)
            ) from None
        return code, out.decode("utf-8", "replace"), complaint

    def _failure(self, verb: str, complaint: str) -> ToolFailed | Unreachable:
        words = self.redact(" ".join(complaint.split())[-600:]) or "it does not say why"
        message = f"git {verb} failed: {words}"
        if _NETWORK.search(complaint):
            return Unreachable(message, where=str(self.place))
        return ToolFailed(
            message,
            where=str(self.place),
            hint="can the worker's user fetch from and push to it with git, without a question?",
        )


def _listed(text: str, prefix: str) -> dict[str, str]:
    """`ls-tree -z` as a mapping."""
    listing: dict[str, str] = {}
    for entry in filter(None, text.split("\0")):
        identity, _, path = entry.partition("\t")
        mode, _, name = identity.split(" ")
        listing[path.removeprefix(prefix)] = f"{mode} {name}"
    return listing


def _write(target: Path, files: Mapping[str, str]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name, text in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
