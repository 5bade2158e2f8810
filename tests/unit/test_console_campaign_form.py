"""The form of a new campaign makes the file that its author would write, and keeps what was typed."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.errors import CampaignInvalid
from bondstone.campaign.document import read_campaign
from bondstone.client.documents.campaign import PreviewDocument
from bondstone.console.campaigns.manifest_form import BEGINNING, OPERATIONS, beginning, manifest, rows, with_rows
from bondstone.console.pages import View
from bondstone.console.session import Visitor
from bondstone.documents.yaml_places import read
from bondstone.identity.access import Access, permissions_of
from bondstone.model.campaign.manifest import Campaign, CampaignMetadata, CampaignSpec, Wave
from bondstone.model.identity import Principal
from bondstone.terminal.output import as_yaml

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
FULL = {
    "name": "cve-2026-1234", "owner": "platform", "reason": "CVE in openssl", "change": "CHG-4711",
    "operation": "patch", "promise": "postgres", "to": "1.4.2", "from": ">=1.0 <2",
    "select.where": "labels.tier == 'prod'", "select.include": "shop/cart\r\nshop/pay",
    "select.exclude": "a/b, a/c",
    "select.max": "500", "unit": "tree", "unmatched": "skip", "order": "label:ring", "max_concurrent": "20",
    "per.label": "region", "per.max_concurrent": "5", "start_rate": "60/m", "budget.max_failures": "2%",
    "budget.scope": "wave", "budget.overshoot": "strict", "budget.consecutive": "3", "on_failure": "abort",
    "target.timeout": "30m", "target.retries": "2", "target.backoff": "1m", "target.busy": "skip",
    "target.unreachable": "skip", "windows.cutoff": "30m", "windows.end": "cancel",
    "wave.0.name": "canary", "wave.0.take": "count", "wave.0.amount": "3", "wave.0.max_failures": "0",
    "wave.0.soak": "10m", "wave.0.max_concurrent": "1",
    "wave.1.name": "ring", "wave.1.take": "where", "wave.1.amount": "labels.ring == 'one'",
    "wave.1.roles": "sre, dba", "wave.1.people": "2", "wave.1.expires": "24h",
    "wave.2.name": "quarter", "wave.2.take": "percent", "wave.2.amount": "25%",
    "wave.3.name": "rest", "wave.3.take": "rest", "wave.3.amount": "",
    "window.0.kind": "allow", "window.0.cron": "0 22 * * *", "window.0.duration": "6h",
    "window.0.time_zone": "UTC",
    "window.1.kind": "deny", "window.1.cron": "0 0 * * FRI", "window.1.duration": "24h",
    "window.1.time_zone": "UTC",
    "csrf": "x", "do": "preview",
}  # fmt: skip


def test_every_field_of_a_campaign_stands_in_its_file():
    made = Campaign.model_validate(manifest(FULL))
    spec = made.spec
    assert made.metadata == CampaignMetadata(
        name="cve-2026-1234", owner="platform", reason="CVE in openssl", change="CHG-4711"
    )
    assert (spec.promise, spec.to, spec.source, spec.unit) == ("postgres", "1.4.2", ">=1.0 <2", "tree")
    assert (spec.select.include, spec.select.exclude) == (("shop/cart", "shop/pay"), ("a/b", "a/c"))
    assert [wave.name for wave in spec.waves] == ["canary", "ring", "quarter", "rest"]
    assert (spec.waves[0].count, spec.waves[2].percent, spec.waves[3].rest) == (3, 25, True)
    assert spec.waves[1].gate.approval.model_dump() == {"roles": ("sre", "dba"), "count": 2, "expires": "24h"}
    assert (spec.budget.max_failures, spec.budget.consecutive, spec.on_failure) == ("2%", 3, "abort")
    assert (spec.target.retries, spec.windows.end, len(spec.windows.deny)) == (2, "cancel", 1)
    # every field but those of other operations is in the form
    unset = set(CampaignSpec.model_fields) - set(spec.model_fields_set)
    assert unset == {"inputs", "repair"}
    assert set(Wave.model_fields) == {name for wave in spec.waves for name in wave.model_fields_set}


def test_the_file_is_yaml_that_says_the_same():
    assert read(as_yaml(manifest(FULL)).encode(), "campaign.yaml").data == manifest(FULL)


def test_an_update_takes_inputs_and_a_drift_check_may_repair():
    update = manifest({**FULL, "operation": "update", "inputs": "size: large\nowner: null", "repair": "true"})[
        "spec"
    ]
    assert update["inputs"] == {"size": "large", "owner": None}
    assert "to" not in update
    assert "repair" not in update
    check = manifest({**FULL, "operation": "reconcile", "repair": "true", "inputs": "size: large"})["spec"]
    assert check["repair"] is True
    assert "inputs" not in check


@pytest.mark.parametrize("text", ["size", "[1, 2]", "size: [", "a: &x [*x]"])
def test_inputs_that_are_no_mapping_are_refused_in_words(text):
    with pytest.raises(CampaignInvalid, match="the inputs cannot be read") as refusal:
        manifest({**FULL, "operation": "update", "inputs": text})
    assert refusal.value.problems


def test_the_newest_version_fits_the_operation():
    assert manifest({**FULL, "operation": "upgrade", "to": "latest-patch"})["spec"]["to"] == "latest"
    assert manifest({**FULL, "operation": "patch", "to": "latest"})["spec"]["to"] == "latest-patch"


def test_the_beginning_is_a_whole_campaign_once_it_has_a_name_and_a_reason():
    form = beginning(NOON, promise="postgres", where="team == 'shop'")
    made = Campaign.model_validate(manifest({**form, "reason": "CVE"}))
    assert made.metadata.name == "patch-postgres-1130-1200"
    assert made.spec.select.where == "team == 'shop'"
    ticked = Campaign.model_validate(manifest({**beginning(NOON, include=["a/b"]), "reason": "x", "promise": "p"}))
    assert (ticked.spec.select.include, ticked.spec.select.where) == (("a/b",), "")
    assert Campaign.model_validate(manifest({**beginning(NOON, promise="p" * 48, operation="decommission"),
                                             "reason": "x"}))  # fmt: skip


@pytest.mark.parametrize("where", ["", "true", " true "])
def test_a_form_begins_without_targets_so_that_a_decommission_is_refused_until_they_are_chosen(where):
    form = {**beginning(NOON, where=where), "name": "clean-up", "reason": "unused"}
    assert form["select.where"] == ""
    chosen = {**form, "operation": "decommission"}  # the promise stays "of any promise"
    checked = read_campaign(as_yaml(manifest(chosen)).encode(), "campaign.yaml", now=NOON)
    assert ["a decommission must say which services" in problem.message for problem in checked.problems] == [True]
    named = manifest({**chosen, "select.include": "shop/cart"})
    assert not read_campaign(as_yaml(named).encode(), "campaign.yaml", now=NOON).problems


def test_rows_are_added_before_the_rest_and_removed_and_others_keep_what_was_typed():
    more = with_rows(FULL, "add-wave")
    assert [row.get("name", "") for row in rows(more, "wave")] == ["canary", "ring", "quarter", "", "rest"]
    less = with_rows(more, "remove-wave-1")
    assert [row.get("name", "") for row in rows(less, "wave")] == ["canary", "quarter", "", "rest"]
    assert {key: value for key, value in less.items() if not key.startswith("wave.")} == {
        key: value for key, value in FULL.items() if not key.startswith("wave.")
    }
    assert [row["kind"] for row in rows(with_rows(FULL, "add-window"), "window")] == ["allow", "deny", "allow"]
    assert with_rows(FULL, "preview") is None
    assert with_rows(FULL, "remove-wave-99") == {**FULL}
    full = dict(BEGINNING)
    for _ in range(200):
        full = with_rows(full, "add-wave")
    assert len(rows(full, "wave")) == 100


@given(
    st.dictionaries(
        st.sampled_from([*FULL, "wave.999.name", "wave.5.take", "wave..name", "inputs"]), st.text(max_size=40)
    )
)
def test_whatever_is_typed_makes_a_file_or_a_refusal_in_words(form):
    try:
        made = manifest(form)
    except CampaignInvalid as refusal:
        assert refusal.problems  # noqa: PT017 - either way
        return
    assert as_yaml(made)


def test_enter_in_a_field_previews_and_never_starts_a_campaign():
    ada = Principal(subject="ada", means="oidc")
    preview = PreviewDocument(
        name="cve", operation="patch", targets=0, waves=(), selected=(), left=(), seconds_each=1, based_on="none",
        as_of=NOON,
    )  # fmt: skip
    view = View(
        "new_campaign.html", "/campaigns", form=FULL, operations=OPERATIONS, promises=[], waves=rows(FULL, "wave"),
        windows=rows(FULL, "window"), source="", lines=[], error=None, preview=preview, again=False, unsaid=False,
        previewed="of this form",
    )  # fmt: skip
    page = view.html(Visitor(ada, permissions_of(Access(), ada), "csrf", bond=None, note=print))
    buttons = re.findall(r'<button[^>]* name="do" value="([a-z]+)', page)
    assert "run" in buttons
    assert buttons[0] == "preview"  # a browser presses the first button of a form
