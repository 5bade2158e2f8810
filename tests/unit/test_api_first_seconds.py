"""In a process's first seconds, roles that are granted for labels count as they do later."""

from types import SimpleNamespace

import pytest

from bondstone.api.routes import operations
from bondstone.api.session import CallSession
from bondstone.base.errors import Unreachable
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles, Scope, Target

PRODUCTION = Scope(labels={"tier": "prod"})
EVE = Principal(
    subject="eve", means="oidc", grants=(Roles(roles=("approver:dba", "viewer", "developer"), scope=PRODUCTION),)
)
OPERATION = SimpleNamespace(
    service="shop/cart", operation="shop/cart/op/2", revision="postgres@1.0.0", id="shop/cart/op/2"
)


class Index:
    """Knows no service until it was waited for."""

    def __init__(self, *, late: bool = False):
        self._listed, self._late = False, late

    async def ready(self, _caller=""):
        if self._late:
            raise Unreachable("the services are not listed yet")
        self._listed = True

    def get(self, name):
        target = Target(team="shop", promise="postgres", labels={"tier": "prod"}, name=name)
        return SimpleNamespace(target=target) if self._listed else None

    def expect_changes_of(self, _caller):
        pass


async def answered(*_arguments, **_options):
    return OPERATION


async def answered_all(*_arguments):
    return [OPERATION]


def asking(index: Index) -> CallSession:
    bond = SimpleNamespace(
        operations=SimpleNamespace(get=answered, list=answered_all, cancel=answered),
        approvals=SimpleNamespace(list=answered_all, approve=answered, reject=answered),
    )
    return CallSession(SimpleNamespace(services=index), permissions_of(Access(), EVE), bond, None)


ASKS = {
    "list": operations.list_operations,
    "approvals": operations.list_approvals,
    "approve": lambda session: operations.approve_plan(
        session, "shop", "cart", 2, operations.ApproveBody(digest="a" * 64)
    ),
    "reject": lambda session: operations.reject_plan(
        session, "shop", "cart", 2, operations.RejectBody(digest="a" * 64)
    ),
    "cancel": lambda session: operations.cancel_operation(session, "shop", "cart", 2, operations.Why()),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_labels_are_waited_for_and_the_wait_ends(ask):
    assert await ask(asking(Index())) in (OPERATION, [OPERATION])
    with pytest.raises(Unreachable):
        await ask(asking(Index(late=True)))
