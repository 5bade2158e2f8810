"""Reading an access document: every mistake at once, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from bondstone.base.errors import AccessInvalid, Problem
from bondstone.documents.yaml_places import PlacedDocument, model_problems, ordered, read, refuse
from bondstone.model.identity import ADMIN, AccessDocument


@dataclass(frozen=True, slots=True)
class ReadAccess:
    """What a file holds, or what is wrong with it."""

    document: AccessDocument | None
    """None when there are problems."""
    file: str
    problems: tuple[Problem, ...] = ()

    def require(self) -> AccessDocument:
        """The document.

        Raises:
            AccessInvalid: with every problem.
        """
        if self.document is None:
            raise refuse(self.problems, self.file, AccessInvalid)
        return self.document


def read_access(data: bytes, file: str, *, needs_admin: bool = True) -> ReadAccess:
    """Read an access document from YAML or JSON.

    Args:
        data: What the file holds.
        file: Its name, for messages.
        needs_admin: Refuse a document that makes nobody an administrator everywhere: it could be replaced by
            nobody. False where the settings name administrators.
    """
    document = read(data, file)
    if document.problems:
        return ReadAccess(None, file, ordered(document.problems))
    if not isinstance(document.data, dict):
        words = "an access document is a mapping with apiVersion, kind, metadata and spec"
        return ReadAccess(None, file, (document.problem((), words),))
    try:
        access = AccessDocument.model_validate(document.data)
    except ValidationError as error:
        return ReadAccess(None, file, ordered(model_problems(document, error, AccessDocument)))
    problems = ordered(_problems(document, access, needs_admin=needs_admin))
    return ReadAccess(None if problems else access, file, problems)


def _problems(document: PlacedDocument, access: AccessDocument, *, needs_admin: bool) -> Iterator[Problem]:
    path = ("spec", "grants")
    if needs_admin and not any(grant.scope is None and ADMIN in grant.roles for grant in access.spec.grants):
        yield document.problem(
            path,
            "nobody is an administrator everywhere, so nobody could publish the next document",
            hint="grant `admin` with `scope: everything` to a person or a group",
            key=True,
        )
    for index, grant in enumerate(access.spec.grants):
        if grant.scope is None and document.data["spec"]["grants"][index]["scope"] is None:
            # The model's None is `everything`; in a file it is a scope that was left empty.
            yield document.problem(
                (*path, index, "scope"),
                "the scope is empty, so it does not say where the grant holds",
                hint="name teams, promises or labels in it; for everywhere, write `scope: everything`",
                key=True,
            )
        for number, role in enumerate(grant.roles):
            if role in grant.roles[:number]:
                yield document.problem((*path, index, "roles", number), f"{role} is named twice")
        for number, subject in enumerate(grant.subjects):
            if subject.anyone and ADMIN in grant.roles:
                yield document.problem(
                    (*path, index, "subjects", number), "anyone who signs in would be an administrator"
                )
