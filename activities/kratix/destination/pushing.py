"""The verbs of a step with a destination: plan, apply, plan to destroy, detect drift.

A folder of the branch is the step's own, and is made to be exactly what the pipelines wrote. A push is recognised
by its content: an attempt that finds the plan's files there has nothing to do, whoever pushed them.
"""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bondstone.activities.kratix.contract import objects_in
from bondstone.activities.kratix.destination.documents import (
    BranchFolder,
    PushedRecord,
    PushPlan,
    PushRun,
    read_push_plan,
    read_pushed,
)
from bondstone.activities.kratix.destination.repository import Repository
from bondstone.activities.tooling.claims import claimed
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.activities.tooling.scratch import Scratch
from bondstone.base.canonical import digest
from bondstone.base.errors import BondError, Fenced, InvalidInput, PlanStale, Refused, StoreUnavailable, ToolFailed
from bondstone.base.git_destinations import GitDestination, git_destination
from bondstone.executors.protocol import Drifted, Outcome, Output, Planned, StepContext
from bondstone.model.plan import Change
from bondstone.model.promise import seconds

if TYPE_CHECKING:
    from bondstone.activities.kratix.pipelines import Rendered
    from bondstone.executors.state import StateClaim

TOOL: Final = "git push"
MAX_PUSHES: Final = 20
"""How often a push is tried while others push to the same branch."""


@dataclass(slots=True)
class PushSession:
    """What the verbs share while one of them runs."""

    context: StepContext
    pulse: Pulse
    stop: Stop

    @property
    def where(self) -> str:
        """The service and the step, for errors."""
        return f"{self.context.service} step {self.context.step}"

    def place(self) -> BranchFolder:
        """The folder that the section means."""
        known = self._destination()
        service = self.context.service
        folder = posixpath.join(known.path, service.team, service.name, self.context.step)
        return BranchFolder(url=known.url, branch=known.branch, folder=folder)

    def _destination(self) -> GitDestination:
        """Of the pool; in a test of the promise a repository of the test's own, and the pool's is not reached."""
        settings, name = self.context.settings, self.context.section.destination
        if self.context.trial:
            return GitDestination(url=(settings.work_dir / "kratix" / "trial.git").absolute().as_uri())
        return git_destination(settings.git_destinations, name)

    async def record(self) -> tuple[int, PushedRecord]:
        """Position and content of the newest state."""
        snapshot = await self.context.state.read()
        return snapshot.position, read_pushed(snapshot.payload)

    @asynccontextmanager
    async def repository(self, place: BranchFolder) -> AsyncIterator[Repository]:
        """The branch, with a folder for this attempt that is gone with it."""
        context = self.context
        scratch = Scratch(context.settings.work_dir, "kratix")
        scratch.sweep()
        with scratch.run(keep=not context.cleanup) as directory:
            repository = Repository(
                place, directory, context.settings, seconds(context.section.timeout), context.redact
            )
            self.pulse.note(f"git: {place}")
            await self.stop.unless(repository.open())
            if context.trial:
                await self.stop.unless(repository.make_remote())
            yield repository


async def plan(session: PushSession, rendered: Rendered) -> Planned:
    """Compare what the pipelines wrote with what stands in the step's folder."""
    position, record = await session.record()
    place = session.place()
    if record.stands and record.place != place:
        raise Refused(
            f"the step's files are in {record.place} and cannot move to {place}",
            where=session.where,
            hint="keep the destination as it was, or request a new service and decommission this one",
        )
    _check(session, rendered.files)
    manifests = objects_in(rendered.files)
    async with session.repository(place) as repository:
        tip = await session.stop.unless(repository.tip())
        before = await session.stop.unless(repository.listing(tip))
        standing = await session.stop.unless(repository.contents(tip, before))
        _, after = await session.stop.unless(repository.tree(rendered.files))
    status = dict(rendered.status)
    made = PushPlan(place=place, files=dict(rendered.files), before=before, after=after, status=status)
    settled = (
        record.run is not None
        and record.run.done
        and record.stands
        and (record.listing, record.status) == (after, status)
    )
    document = _document(session, place, rendered.files, manifests)
    document |= {"status": status, "notes": list(rendered.notes)}
    return Planned(
        artefact=made.pack(),
        document=document,
        changes=_changes(session, (before, standing), (after, rendered.files)),
        empty=before == after and settled,
        position=position,
        tool=TOOL,
    )


async def plan_destroy(session: PushSession) -> Planned:
    """Look for what stands in the step's folder."""
    position, record = await session.record()
    before: dict[str, str] = {}
    standing: dict[str, str] = {}
    if record.stands:
        async with session.repository(record.place) as repository:
            tip = await session.stop.unless(repository.tip())
            before = await session.stop.unless(repository.listing(tip))
            standing = await session.stop.unless(repository.contents(tip, before))
    made = PushPlan(destroy=True, place=record.place, before=before)
    return Planned(
        artefact=made.pack(),
        document=_document(session, record.place, {}, []),
        changes=_changes(session, (before, standing), ({}, {})),
        empty=not record.stands,
        position=position,
        tool=TOOL,
    )


async def detect_drift(session: PushSession) -> Drifted:
    """Compare the step's folder with what was pushed: `before` as pushed, `after` as it is."""
    _, record = await session.record()
    if not record.stands:
        return Drifted(())
    async with session.repository(record.place) as repository:
        tip = await session.stop.unless(repository.tip())
        live = await session.stop.unless(repository.listing(tip))
        standing = await session.stop.unless(repository.contents(tip, live))
    return Drifted(_changes(session, (record.listing, record.files), (live, standing)))


async def apply(
    session: PushSession, artefact: bytes, position: int, before_removal: Callable[[], Awaitable[object]]
) -> Outcome:
    """Push exactly the plan in the artefact, made at that position of the state log.

    Args:
        session: At work.
        artefact: The plan.
        position: Of the log that the plan was made at.
        before_removal: Runs the pipelines of `delete`.

    Raises:
        PlanStale: when the record or the step's folder has moved since.
        ToolFailed: when git, or the server, refuses.
        Unreachable: when the repository does not answer, or others always pushed first.
    """
    made = read_push_plan(artefact)
    run = PushRun(plan=digest(artefact), base=position)
    done = run.changed(done=True)
    async with claimed(session, session.context.state) as claim:
        try:
            record = read_pushed(claim.snapshot.payload)
            if record.run == done:  # an attempt before this one was done, and could not say so
                await claim.release()
                return _outcome(made)
            _check_position(session, claim.snapshot.position, position, continues=record.run == run)
            if record.stands or not made.destroy:
                async with session.repository(made.place) as repository:
                    await _push(session, claim, repository, _Work(made, run, record, before_removal))
            new = PushedRecord(run=done)
            if not made.destroy:
                new = new.changed(
                    stands=True, place=made.place, files=made.files, listing=made.after, status=made.status
                )
            await claim.release(new.pack())
        except Fenced:
            raise
        except BaseException:
            with suppress(BondError):
                await claim.release()
            raise
    return _outcome(made)


def _check_position(session: PushSession, newest: int, position: int, *, continues: bool) -> None:
    if newest != position and not continues:
        raise PlanStale(
            f"the step's record has moved since the plan was made (from entry {position} of its log to {newest})",
            where=session.where,
            hint="plan again",
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """What one apply is about."""

    made: PushPlan
    run: PushRun
    record: PushedRecord
    """Before it."""
    before_removal: Callable[[], Awaitable[object]]


async def _push(session: PushSession, claim: StateClaim, repository: Repository, work: _Work) -> None:
    made = work.made
    # a removal is pushed after the pipelines of `delete`: they have run when its end is there
    is_begun = work.record.run == work.run and bool(made.before or not made.destroy)
    is_removing = False
    unless = session.stop.unless
    tree, _ = await unless(repository.tree(made.files))
    for _ in range(MAX_PUSHES):
        tip = await unless(repository.tip())
        live = await unless(repository.listing(tip))
        is_over = not made.destroy or is_removing or is_begun
        if live == made.after and is_over:
            session.context.log(f"{made.place} is as planned at commit {tip or 'none'}")
            return
        if live not in (made.before, made.after):
            raise PlanStale(
                f"{made.place} has changed since the plan was made", where=session.where, hint="plan again"
            )
        if not is_begun:
            is_begun = True
            begun = work.record.changed(stands=True, place=made.place, run=work.run)
            await claim.append(begun.pack())
        if made.destroy and not is_removing:
            is_removing = True
            await work.before_removal()
            continue
        commit = await unless(repository.commit(tip, tree, _message(session, made)))
        if claim.lost.is_set():
            raise StoreUnavailable(
                "the claim on the step's state was lost; nothing was pushed", where=session.where
            )
        if await unless(repository.push(commit)):
            session.context.log(f"pushed commit {commit} to {made.place}")
            return
        session.context.log("another push came first: the commit is made again on top of it")
    raise ToolFailed(
        f"each of {MAX_PUSHES} pushes to branch {made.place.branch} came after another one",
        where=str(made.place),
        hint="`bond service retry` tries again; a branch with fewer writers is better",
    )


def _check(session: PushSession, files: Mapping[str, str]) -> None:
    """Refuse what must not be in a repository.

    Raises:
        InvalidInput: a file shows a secret, which a repository never forgets.
        ToolFailed: a path is none that git takes.
    """
    for path, text in files.items():
        if any(part.lower() in {"", ".", "..", ".git"} for part in path.split("/")):
            raise ToolFailed(f"{path!r} is no path of a repository", where=f"/kratix/output/{path}")
        if session.context.redact.is_in(text):
            raise InvalidInput(
                f"{path} shows a secret, and a repository keeps it for ever",
                where=session.where,
                hint="have the pipeline write a reference to a secret store in its place",
            )


def _changes(
    session: PushSession,
    old: tuple[Mapping[str, str], Mapping[str, str]],
    new: tuple[Mapping[str, str], Mapping[str, str]],
) -> list[Change]:
    """What differs between two states of a folder, each a listing and the texts."""
    redact = session.context.redact
    changes: list[Change] = []
    for path in sorted(old[0].keys() | new[0].keys()):
        was, will = old[0].get(path), new[0].get(path)
        if was == will:
            continue
        text = new[1].get(path, "")
        changes.append(
            Change(
                address=path,
                action="create" if was is None else "delete" if will is None else "update",
                type="file",
                before=None if was is None else {"content": redact(old[1].get(path, ""))},
                after=None if will is None else {"content": redact(text)},
                fingerprints={} if will is None else {"content": digest(text.encode())},
            )
        )
    return changes


def _document(
    session: PushSession, place: BranchFolder, files: Mapping[str, str], manifests: list[dict[str, Any]]
) -> dict[str, Any]:
    """What becomes `input.plan` of policies: the files, and the objects in them as of manifests."""
    return {
        "format_version": "1.0",
        "manifests": manifests,
        "files": dict(files),
        "target": {"destination": session.context.section.destination, **place.model_dump()},
        "errored": False,
    }


def _message(session: PushSession, made: PushPlan) -> str:
    context = session.context
    verb = "Remove" if made.destroy else "Write"
    return f"{verb} the files of {context.service} step {context.step}\n\nOperation {context.operation}"


def _outcome(made: PushPlan) -> Outcome:
    return Outcome({} if made.destroy else {"status": Output(made.status)})
