"""Pages that follow changes: which they are."""

import pytest

from bondstone.base.errors import NotFound
from bondstone.console import services
from bondstone.console.campaigns import campaigns
from bondstone.console.pages import followed, subject_of
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles

VIEWS = (campaigns.campaign_view, services.service_view)
"""Their modules register them."""


@pytest.mark.parametrize("path", ["", "/services", "/services/shop", "/campaigns/a/b", "/ledger", "/campaigns"])
def test_a_path_that_no_page_follows_is_refused_before_a_stream_begins(path):
    with pytest.raises(NotFound, match="no live updates"):
        followed(path)


@pytest.mark.parametrize("path", ["/services/shop/cart", "/services/shop/cart/operations/7", "/campaigns/cve"])
def test_pages_of_a_service_an_operation_and_a_campaign_follow_their_changes(path):
    assert callable(followed(path))


def test_windows_share_a_read_for_as_long_as_their_roles_are_the_same():
    def subject(csrf: str, *roles: str) -> str:
        grants = (Roles(roles=roles, scope={"labels": {"tier": "dev"}}),) if roles else ()
        eve = Principal(subject="eve", means="oidc", grants=grants)
        visitor = Visitor(eve, permissions_of(Access(), eve), csrf, bond=None, note=print)
        return subject_of(visitor, "/services/shop/cart")

    assert subject("a", "viewer") == subject("a", "viewer")
    assert len({subject("a", "viewer"), subject("b", "viewer"), subject("a", "operator"), subject("a")}) == 4
