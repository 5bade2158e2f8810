"""Promises in the object store. `Bondstone.promises`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.errors import NotFound
from bondstone.client.documents.promise import (
    CaseDocument,
    InputDocument,
    OutputDocument,
    PromiseCheck,
    PromiseDocument,
    PromiseRow,
    PromiseStepDocument,
    PromiseTestReport,
    PublishedPromise,
    RequestKindDocument,
    VersionDocument,
    row_fields,
)
from bondstone.client.promises import Promises

if TYPE_CHECKING:
    from bondstone.base.errors import Problem
    from bondstone.client.direct.connection import Caller
    from bondstone.model.promise import Promise
    from bondstone.policy import Module
    from bondstone.promise.bundle import Bundle
    from bondstone.store.revisions import Revisions


class DirectPromises(Promises):
    """Promises in the object store; what only reads files asks nothing of a platform.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def validate(self, directory: Path) -> PromiseCheck:
        promise, bundle, warnings = await self._checked(directory)
        return PromiseCheck(
            promise=promise.name, version=promise.version, digest=bundle.digest, warnings=tuple(warnings)
        )

    @override
    async def test(
        self,
        directory: Path,
        *,
        only: str = "",
        policies: Path | None = None,
        on_case: Callable[[CaseDocument], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> PromiseTestReport:
        from bondstone.executors.promise_tests import open_trial  # noqa: PLC0415 - this verb only
        from bondstone.executors.registry import load_executors  # noqa: PLC0415
        from bondstone.policy import load_modules  # noqa: PLC0415
        from bondstone.promise.cases import load_cases  # noqa: PLC0415
        from bondstone.promise.validation.before_publish import validate  # noqa: PLC0415

        executors = load_executors()
        promise = validate(directory, executors).require()
        cases = [(file, case) for file, case in load_cases(directory, promise) if only in case.name]
        if not cases:
            raise NotFound(
                f"no test has {only!r} in its name" if only else "the promise has no tests",
                where=str(directory),
                hint="cases are in tests/*.yaml",
            )
        organisation: list[Module] = load_modules(policies) if policies else []
        began = time.monotonic()
        documents = []
        async with open_trial(
            directory,
            promise,
            executors,
            self._caller.settings,
            organisation=organisation,
            log=on_line or (lambda _line: None),
        ) as trial:
            for number, (file, case) in enumerate(cases, 1):
                document = CaseDocument.of(await trial.run(file, case, number))
                documents.append(document)
                if on_case is not None:
                    on_case(document)
        passed = sum(document.passed for document in documents)
        return PromiseTestReport(
            promise=promise.name,
            version=promise.version,
            passed=passed,
            failed=len(documents) - passed,
            seconds=round(time.monotonic() - began, 3),
            cases=tuple(documents),
        )

    @override
    async def publish(self, directory: Path) -> PublishedPromise:
        promise, bundle, warnings = await self._checked(directory)
        revisions = await self._caller.connection.revisions()
        if promise.spec.requires:
            await _insist_requirements(promise, revisions)
        ref, new = await revisions.publish_once(bundle, promise, by=self._caller.by)
        return PublishedPromise(
            promise=ref.promise,
            version=ref.version,
            digest=ref.digest,
            published=new,
            warnings=tuple(warnings),
        )

    async def _checked(self, directory: Path) -> tuple[Promise, Bundle, Sequence[Problem]]:
        """A promise that may be published, with its bundle and warnings; problems are raised."""
        from bondstone.documents.yaml_places import refuse  # noqa: PLC0415 - publishing only
        from bondstone.executors.registry import load_executors  # noqa: PLC0415
        from bondstone.promise.bundle import pack  # noqa: PLC0415
        from bondstone.promise.validation.before_publish import validate  # noqa: PLC0415
        from bondstone.promise.validation.by_tool import ask_tools  # noqa: PLC0415

        executors = await asyncio.to_thread(load_executors)
        checked = await asyncio.to_thread(validate, directory, executors)
        if checked.promise is None:
            raise refuse(_placed(checked.problems, directory), str(directory))
        fetch = not self._caller.connection.for_others
        report = await ask_tools(directory, checked.promise, executors, self._caller.settings, fetch=fetch)
        if report.problems:
            raise refuse(_placed(report.problems, directory), str(directory))
        bundle = await asyncio.to_thread(pack, directory)
        return checked.promise, bundle, list(_placed([*checked.warnings, *report.warnings], directory))

    @override
    async def get(self, promise: str, version: str = "") -> PromiseDocument:
        from bondstone.promise.request_kinds import request_kinds  # noqa: PLC0415 - this verb only
        from bondstone.store.revisions import chosen  # noqa: PLC0415 - as the connection does

        revisions = await self._caller.connection.revisions()
        infos = await revisions.list(promise)
        if version or not infos:
            info = await (revisions.get(promise, version) if version else revisions.newest(promise))
        else:
            info = chosen(infos) or infos[0]
        manifest = await revisions.promise(info.ref)
        return PromiseDocument(
            **row_fields(info),
            description=manifest.spec.description,
            labels=manifest.metadata.labels,
            inputs=tuple(_inputs(manifest)),
            outputs=tuple(
                OutputDocument(name=name, type=item.type, secret=item.secret, description=item.description)
                for name, item in manifest.spec.outputs.items()
            ),
            steps=tuple(
                PromiseStepDocument(
                    id=step.id, executor=step.executor, needs=step.needs, description=step.description
                )
                for step in manifest.spec.steps
            ),
            request_kinds=tuple(map(RequestKindDocument.of, request_kinds(manifest.spec.steps))),
            input_schema=manifest.spec.inputs,
            versions=tuple(VersionDocument(version=each.ref.version, status=each.status) for each in infos),
        )

    @override
    async def list(self, *, every_version: bool = False) -> list[PromiseRow]:
        from bondstone.store.revisions import chosen  # noqa: PLC0415 - as the connection does

        revisions = await self._caller.connection.revisions()
        rows: list[PromiseRow] = []
        for name in await revisions.names():
            infos = await revisions.list(name)
            shown = infos if every_version else [chosen(infos) or infos[0]]
            rows += map(PromiseRow.of, shown)
        return rows

    @override
    async def deprecate(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        revisions = await self._caller.connection.revisions()
        return PromiseRow.of(await revisions.deprecate(promise, version, reason, self._caller.by))

    @override
    async def yank(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        revisions = await self._caller.connection.revisions()
        return PromiseRow.of(await revisions.yank(promise, version, reason, self._caller.by))


def _placed(problems: Sequence[Problem], directory: Path) -> Iterator[Problem]:
    """Problems with paths as the person who gave the folder would write them."""
    for problem in problems:
        inside = problem.file and (directory / problem.file).exists()
        yield problem.changed(file=str(directory / problem.file)) if inside else problem


def _inputs(promise: Promise) -> Iterator[InputDocument]:
    """The declared inputs, nested ones by their dotted path."""
    from bondstone.promise.schema import fields, walk  # noqa: PLC0415 - one verb

    required = set(promise.spec.inputs.get("required", ()))
    for item in walk(fields(promise)):
        yield InputDocument(
            name=item.path,
            type=item.schema.get("type", "any"),
            required=item.path in required and "default" not in item.schema,
            default=item.schema.get("default"),
            secret=item.secret,
            values=item.schema.get("enum", []),
            title=item.schema.get("title", ""),
            description=item.schema.get("description", ""),
        )


async def _insist_requirements(promise: Promise, revisions: Revisions) -> None:
    """Refuse what a promise requires and no published promise gives."""
    from bondstone.documents.yaml_places import refuse  # noqa: PLC0415 - only compound promises
    from bondstone.promise.requirements import check_requirements  # noqa: PLC0415
    from bondstone.promise.versions import in_range  # noqa: PLC0415
    from bondstone.store.revisions import chosen  # noqa: PLC0415

    async def newest(name: str, versions: str) -> Promise | None:
        fitting = [info for info in await revisions.list(name) if in_range(info.ref.version, versions)]
        info = chosen(fitting)
        return await revisions.promise(info.ref) if info is not None else None

    if problems := await check_requirements(promise, newest):
        raise refuse(problems, promise.name)
