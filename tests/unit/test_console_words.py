"""What pages of the console say: their first sentence, the tone of each status, the verbs that fit a campaign."""

import re
import typing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bondstone.base.errors import InvalidInput
from bondstone.client.documents.campaign import (
    CampaignDocument,
    FlightDocument,
    HoldingFreeze,
    PausedDocument,
    WaveDocument,
)
from bondstone.client.documents.promise import PromiseRow
from bondstone.client.documents.step import ApprovalDocument
from bondstone.client.documents.worker import BuildDocument
from bondstone.console.campaigns.campaigns import VERBS, fits
from bondstone.console.pages import View
from bondstone.console.rendering import TONES, sentence, tone
from bondstone.console.schedules import _later
from bondstone.console.session import Visitor
from bondstone.console.timeline import dials
from bondstone.identity.access import Access, permissions_of
from bondstone.model.campaign.state import CampaignStatus, TargetOutcome
from bondstone.model.identity import Principal
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import Health, OperationStatus, Phase, StepStatus
from bondstone.temporal.deliveries import DeliveryDocument

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENUMS = (Phase, Health, OperationStatus, StepStatus, CampaignStatus, TargetOutcome)
LITERALS = (
    WaveDocument.model_fields["status"],
    ApprovalDocument.model_fields["status"],
    Decision.model_fields["outcome"],
    Finding.model_fields["level"],
    PromiseRow.model_fields["status"],
    BuildDocument.model_fields["status"],
    DeliveryDocument.model_fields["status"],
)
BUSY = {
    *("requested", "provisioning", "updating", "patching", "upgrading", "rolling-back", "reconciling"),
    *(
        "decommissioning",
        "queued",
        "running",
        "pending",
        "planning",
        "checking",
        "applying",
        "aborting",
    ),
}
"""What is under way; every other status has a tone of its own."""


def test_a_sentence_has_a_capital_and_one_full_stop():
    assert sentence("update op/7 waits for anybody") == "Update op/7 waits for anybody."
    assert sentence("failed: no space left.") == "Failed: no space left."
    assert sentence("failed: a long rea…") == "Failed: a long rea…"
    assert sentence("freeze `a<b`\u202e holds") == r"Freeze <code>a&lt;b</code>\u202e holds."


def test_every_tone_is_of_a_status_that_exists():
    words = {str(member) for enum in ENUMS for member in enum}
    words |= {str(word) for field in LITERALS for word in typing.get_args(field.annotation)}
    assert {str(word) for word in TONES} - words == set()


def test_only_what_is_under_way_has_the_tone_of_that():
    assert {str(member) for enum in ENUMS for member in enum if tone(member) == "busy"} == BUSY


def campaign(status: CampaignStatus, wave: str = "running", **fields) -> CampaignDocument:
    return CampaignDocument(
        name="cve", status=status, requested_by="dana", targets=3, targets_digest="c" * 64, wave="rest",
        max_concurrent=2, counts=fields.pop("counts", {}), running=1, flights=(), failures=(), skipped={},
        awaits=(),
        waves=(
            WaveDocument(
                name="rest", status=wave, targets=3, succeeded=0, failed=0, running=1, waiting=2, counts={}
            ),
        ),
        **{"failed": 0, **fields},
    )  # fmt: skip


ALWAYS = {"abort", "abort-cancel", "set_concurrency"}
PAUSED = PausedDocument(cause="verb", by="eve", at="2026-11-29T14:02:00Z")
BROKEN = PausedDocument(cause="budget", at="2026-11-29T14:02:00Z")


@pytest.mark.parametrize(
    ("document", "verbs"),
    [
        (campaign(CampaignStatus.RUNNING, counts={"waiting": 2}), ALWAYS | {"pause", "skip"}),
        (campaign(CampaignStatus.WAITING_WINDOW), ALWAYS | {"pause"}),
        (campaign(CampaignStatus.SOAKING, "soaking"), ALWAYS | {"pause", "next_wave"}),
        (campaign(CampaignStatus.AWAITING_APPROVAL, "gate"), ALWAYS | {"pause", "approve", "reject"}),
        (campaign(CampaignStatus.PAUSED, paused=PAUSED), ALWAYS | {"resume"}),
        (campaign(CampaignStatus.PAUSED, "gate", paused=PAUSED), ALWAYS | {"resume", "approve", "reject"}),
        (
            campaign(CampaignStatus.PAUSED, paused=BROKEN, failed=2),
            ALWAYS | {"pause", "resume", "retry", "rollback-failed", "rollback-all"},
        ),
        (campaign(CampaignStatus.RUNNING, counts={"succeeded": 1}), ALWAYS | {"pause", "rollback-all"}),
        (campaign(CampaignStatus.ROLLING_BACK, failed=2), {"pause", "abort", "abort-cancel"}),
        (campaign(CampaignStatus.ABORTING, failed=2), set()),
        (campaign(CampaignStatus.COMPLETED, counts={"succeeded": 3}), {"rollback-all"}),
        (
            campaign(CampaignStatus.COMPLETED_WITH_FAILURES, failed=1),
            {"retry", "rollback-failed", "rollback-all"},
        ),
        (campaign(CampaignStatus.ABORTED), set()),
        (campaign(CampaignStatus.SUPERSEDED), set()),
    ],
)
def test_only_verbs_that_fit_are_offered(document: CampaignDocument, verbs: set[str]):
    assert {verb for verb, _ in VERBS if fits(document, verb)} == verbs


@pytest.mark.parametrize("text", ["", "0", "-1", "²", "٣", "1.5", "8761", "9" * 5000])
def test_what_is_no_number_of_hours_is_refused_in_words(text: str):
    with pytest.raises(InvalidInput, match="the number of hours is a number from 1 to 8760"):
        _later(NOON, text)


def test_a_freeze_ends_within_the_calendar():
    assert _later(NOON, " 8 ") == NOON + timedelta(hours=8)
    with pytest.raises(InvalidInput, match="year 9999"):
        _later(datetime.max.replace(tzinfo=UTC), "8")


def test_what_a_target_waits_for_stands_on_the_campaigns_page_in_words():
    since = {"started_at": datetime(2026, 11, 29, 14, tzinfo=UTC)}
    later = "waits for its next attempt"
    flights = (
        FlightDocument(service="a/x", attempt=2, phase="between", stalled=later, **since),
        FlightDocument(service="b/x", attempt=1, phase="accepted", awaiting=True, operation="b/x/op/3", **since),
    )
    view = View(
        "campaign.html", "/campaigns", campaign=campaign(CampaignStatus.RUNNING).changed(flights=flights),
        sentence="", verbs=[], groups=[], drawing="", dials=[], events=[],
    )  # fmt: skip
    ada = Principal(subject="ada", means="oidc")
    page = view.html(Visitor(ada, permissions_of(Access(), ada), "csrf", bond=None, note=print))
    texts = [
        " ".join(re.sub("<[^>]+>", " ", item).split()) for item in re.findall("<li>(.*?)</li>", page, re.DOTALL)
    ]
    assert any(text.startswith("a/x … waits for its next attempt attempt 2") for text in texts)
    assert any(text.startswith("b/x ◆ awaiting-approval attempt 1") for text in texts)
    assert "between" not in page


@pytest.mark.parametrize(("team", "kinds"), [("", ["freeze"]), ("payments", ["freeze", "window"])])
def test_a_freeze_of_the_platform_is_not_told_as_a_window_too(team, kinds):
    freeze = HoldingFreeze(name="year-end", team=team, ends_at=None)
    held = campaign(CampaignStatus.WAITING_WINDOW).changed(freezes=(freeze,))
    assert [dial.kind for dial in dials(held, SimpleNamespace(waves=()))] == kinds
