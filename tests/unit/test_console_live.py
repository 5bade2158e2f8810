"""Pages that follow changes: which they are."""

import pytest

from bondstone.base.errors import NotFound
from bondstone.console import campaigns, services
from bondstone.console.pages import followed

VIEWS = (campaigns.campaign_view, services.service_view)
"""Their modules register them."""


@pytest.mark.parametrize("path", ["", "/services", "/services/shop", "/campaigns/a/b", "/ledger", "/campaigns"])
def test_a_path_that_no_page_follows_is_refused_before_a_stream_begins(path):
    with pytest.raises(NotFound, match="does not change by itself"):
        followed(path)


@pytest.mark.parametrize("path", ["/services/shop/cart", "/services/shop/cart/operations/7", "/campaigns/cve"])
def test_pages_of_a_service_an_operation_and_a_campaign_follow_their_changes(path):
    assert callable(followed(path))
