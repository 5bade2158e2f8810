"""Pages show nothing to a person without a role, and say so where nothing is published yet."""

from types import SimpleNamespace

import pytest

from bondstone.base.errors import Forbidden, NotFound
from bondstone.console import catalogue, publishing
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles


async def nothing() -> list[object]:
    return []


def visitor(*roles: str) -> Visitor:
    grants = (Roles(roles=roles, scope=None),) if roles else ()
    eve = Principal(subject="eve", means="oidc", grants=grants)
    bond = SimpleNamespace(policies=SimpleNamespace(list=nothing))
    return Visitor(eve, permissions_of(Access(), eve), "csrf", bond=bond, note=print)


async def test_a_person_without_a_role_reads_no_promise():
    nobody = visitor()
    pages = (
        catalogue.catalogue(nobody, state=None),
        catalogue.show(nobody, None, "postgres"),
        catalogue.form(nobody, "postgres"),
    )
    for page in pages:
        with pytest.raises(Forbidden, match="viewer"):
            await page


async def test_policy_sets_are_compared_once_there_is_one():
    with pytest.raises(NotFound, match="no policy set is published yet"):
        await publishing.compare_policies(visitor("viewer"))
