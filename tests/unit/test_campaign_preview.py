"""What a preview of a campaign says of freezes: those that it would meet, and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bondstone.campaign.waves import CampaignTarget, Partition
from bondstone.campaign.windows import Freeze
from bondstone.client.direct.campaigns.files import Ready, holding
from bondstone.model.campaign.manifest import Campaign

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ready(**freezes: Freeze) -> Ready:
    campaign = Campaign.model_validate(
        {
            "apiVersion": "bondstone.dev/v1",
            "kind": "Campaign",
            "metadata": {"name": "c", "owner": "platform", "reason": "because"},
            "spec": {"operation": "patch", "promise": "postgres", "waves": [{"name": "rest", "rest": True}]},
        }
    )
    target = CampaignTarget("shop/a", "postgres", "1.4.1", "1.4.2", 0, "", "", "")
    plan = Partition((target,), (), None, (), ())
    by_team = {team.removeprefix("all"): (freeze,) for team, freeze in freezes.items()}
    return Ready(campaign=campaign, plan=plan, freezes=by_team, now=NOW, overlaps={})


@pytest.mark.parametrize("ends_at", [NOW + 2 * HOUR, None])
def test_a_freeze_that_begins_after_the_campaign_holds_up_nothing(ends_at: datetime | None) -> None:
    far = datetime(2099, 1, 1, tzinfo=UTC)
    assert holding(ready(all=Freeze("far", far), shop=Freeze("late", far, far + HOUR)), ends_at) == ()


def test_a_freeze_is_named_with_its_end_and_one_that_comes_with_its_beginning() -> None:
    freezes = ready(all=Freeze("now", NOW - HOUR), shop=Freeze("soon", NOW + HOUR, NOW + 3 * HOUR))
    assert holding(freezes, NOW + 2 * HOUR) == (
        "the freeze now, until somebody ends it",
        "the freeze soon of team shop, from 2026-11-24 13:00:00 UTC until 2026-11-24 15:00:00 UTC",
    )


def test_a_freeze_of_a_team_without_targets_holds_up_nothing() -> None:
    assert holding(ready(data=Freeze("now", NOW - HOUR)), NOW + HOUR) == ()
