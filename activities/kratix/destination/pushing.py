"""The verbs of a step with a destination: plan, apply, plan to destroy, detect drift.

A folder of the branch or the bucket is the step's own, and is made to be exactly what the pipelines wrote. What
was written is recognised by its content: an attempt that finds the plan's files there has nothing to do.
"""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from bondstone.activities.kratix.contract import objects_in
from bondstone.activities.kratix.destination.bucket import Bucket
from bondstone.activities.kratix.destination.documents import (
    DestinationFolder,
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
from bondstone.base.destinations import BucketDestination, GitDestination, find_destination
from bondstone.base.errors import BondError, Fenced, InvalidInput, PlanStale, Refused, StoreUnavailable, ToolFailed
from bondstone.executors.protocol import Drifted, Outcome, Output, Planned, StepContext
from bondstone.model.plan import Change
from bondstone.model.promise import seconds

if TYPE_CHECKING:
    from bondstone.activities.kratix.pipelines import Rendered
    from bondstone.executors.state import StateClaim

MAX_PUSHES: Final = 20
"""How often a push is tried while others push to the same branch."""


class Folder(Protocol):
    """One attempt's view of the step's folder: `Repository`, `Bucket`."""

    tool: ClassVar[str]
    another_came_first: ClassVar[str]

    async def newest(self) -> dict[str, str]:
        """What stands there now: what identifies the content of each file, by its path below the folder."""
        ...

    async def texts(self) -> dict[str, str]:
        """The texts of what `newest` has read."""
        ...

    async def prepare(self, files: Mapping[str, str]) -> dict[str, str]:
        """Take the files that there shall be; what `newest` will give when they stand there."""
        ...

    async def write(self, message: str, still_held: Callable[[], None]) -> str:
        """Make the folder what was prepared; what was done in words, nothing when another one wrote first."""
        ...

    def is_half_written(
        self, live: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]
    ) -> bool:
        """Whether an attempt that died can have left this."""
        ...

    def beaten(self, tries: int) -> BondError:
        """The error when another one always wrote first."""
        ...


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

    def place(self) -> DestinationFolder:
        """The folder that the section means."""
        known = self._destination()
        service = self.context.service
        folder = posixpath.join(service.team, service.name, self.context.step)
        if isinstance(known, BucketDestination):
            return DestinationFolder(url=known.url.rstrip("/"), folder=folder)
        return DestinationFolder(url=known.url, branch=known.branch, folder=posixpath.join(known.path, folder))

    def _destination(self) -> GitDestination | BucketDestination:
        """Of the pool; in a test of the promise one of the test's own, and the pool's is not reached."""
        settings, name = self.context.settings, self.context.section.destination
        if not self.context.trial:
            return find_destination(settings.git_destinations, settings.bucket_destinations, name)
        scratch = (settings.work_dir / "kratix").absolute()
        if name in settings.bucket_destinations:
            return BucketDestination(url=(scratch / "trial-bucket").as_uri())
        return GitDestination(url=(scratch / "trial.git").as_uri())

    async def record(self) -> tuple[int, PushedRecord]:
        """Position and content of the newest state."""
        snapshot = await self.context.state.read()
        return snapshot.position, read_pushed(snapshot.payload)

    @asynccontextmanager
    async def folder(self, place: DestinationFolder) -> AsyncIterator[Folder]:
        """The step's folder, and on this machine one for this attempt that is gone with it."""
        context = self.context
        limit = seconds(context.section.timeout)
        self.pulse.note(f"{'git' if place.branch else 'bucket'}: {place}")
        if not place.branch:
            bucket = Bucket(place, limit)
            await self.stop.unless(bucket.open())
            yield bucket
            return
        scratch = Scratch(context.settings.work_dir, "kratix")
        scratch.sweep()
        with scratch.run(keep=not context.cleanup) as directory:
            repository = Repository(place, directory, context.settings, limit, context.redact)
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
    async with session.folder(place) as folder:
        before = await session.stop.unless(folder.newest())
        standing = await session.stop.unless(folder.texts())
        after = await session.stop.unless(folder.prepare(rendered.files))
        tool = folder.tool
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
        tool=tool,
    )


async def plan_destroy(session: PushSession) -> Planned:
    """Look for what stands in the step's folder."""
    position, record = await session.record()
    before: dict[str, str] = {}
    standing: dict[str, str] = {}
    tool = ""
    if record.stands:
        async with session.folder(record.place) as folder:
            before = await session.stop.unless(folder.newest())
            standing = await session.stop.unless(folder.texts())
            tool = folder.tool
    made = PushPlan(destroy=True, place=record.place, before=before)
    return Planned(
        artefact=made.pack(),
        document=_document(session, record.place, {}, []),
        changes=_changes(session, (before, standing), ({}, {})),
        empty=not record.stands,
        position=position,
        tool=tool,
    )


async def detect_drift(session: PushSession) -> Drifted:
    """Compare the step's folder with what was pushed: `before` as pushed, `after` as it is."""
    _, record = await session.record()
    if not record.stands:
        return Drifted(())
    async with session.folder(record.place) as folder:
        live = await session.stop.unless(folder.newest())
        standing = await session.stop.unless(folder.texts())
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
                async with session.folder(made.place) as folder:
                    await _write(session, claim, folder, _Work(made, run, record, before_removal))
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


async def _write(session: PushSession, claim: StateClaim, folder: Folder, work: _Work) -> None:
    made = work.made
    # a removal is written after the pipelines of `delete`: they have run when its end is there
    is_begun = work.record.run == work.run and bool(made.before or not made.destroy)
    is_removing = False
    unless = session.stop.unless

    def still_held() -> None:
        if claim.lost.is_set():
            raise StoreUnavailable(
                "the claim on the step's state was lost; nothing more is written", where=session.where
            )

    await unless(folder.prepare(made.files))
    for _ in range(MAX_PUSHES):
        live = await unless(folder.newest())
        is_over = not made.destroy or is_removing or is_begun
        if live == made.after and is_over:
            session.context.log(f"{made.place} is as planned")
            return
        if live not in (made.before, made.after):
            if not (is_begun and folder.is_half_written(live, made.before, made.after)):
                raise PlanStale(
                    f"{made.place} has changed since the plan was made", where=session.where, hint="plan again"
                )
            is_removing = made.destroy  # what is removed in part has had its pipelines
        if not is_begun:
            is_begun = True
            begun = work.record.changed(stands=True, place=made.place, run=work.run)
            await claim.append(begun.pack())
        if made.destroy and not is_removing:
            is_removing = True
            await work.before_removal()
            continue
        if words := await unless(folder.write(_message(session, made), still_held)):
            session.context.log(f"{words} to {made.place}")
            return
        session.context.log(folder.another_came_first)
    raise folder.beaten(MAX_PUSHES)


def _check(session: PushSession, files: Mapping[str, str]) -> None:
    """Refuse what must not be in a destination.

    Raises:
        InvalidInput: a file shows a secret, which others read there, and a repository never forgets.
        ToolFailed: a path is none that git takes.
    """
    for path, text in files.items():
        if any(part.lower() in {"", ".", "..", ".git"} for part in path.split("/")):
            raise ToolFailed(f"{path!r} is no path of a destination", where=f"/kratix/output/{path}")
        if session.context.redact.is_in(text):
            raise InvalidInput(
                f"{path} shows a secret, which would be plain text at its destination",
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
    session: PushSession, place: DestinationFolder, files: Mapping[str, str], manifests: list[dict[str, Any]]
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
