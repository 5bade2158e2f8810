"""The files of a Kratix pipeline are read as Kratix's own library reads them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bondstone.activities.kratix.contract import ROOT, merge_status, read_control, read_selectors
from bondstone.base.errors import ToolFailed
from harness.pinned import ToolMissing, find

pytestmark = pytest.mark.integration

TEXT = st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=2)
)
CONDITIONS = st.lists(
    st.fixed_dictionaries({"status": TEXT}, optional={"type": st.sampled_from(["Ready", "Synced", "", "Done"])})
    | TEXT,
    max_size=4,
)
STATUS = st.fixed_dictionaries(
    {},
    optional={
        "message": VALUES,
        "connection": st.dictionaries(TEXT, VALUES, max_size=2),
        "conditions": CONDITIONS | VALUES,
    },
)
DURATION = st.sampled_from(
    (
        *("", "0", "90s", "1h30m", "1.5h", "250ms", ".5s", "5.s", "1us", "1µs", "+3m", "3m2h", "23h59m59.999s"),
        *("5", "s", "1 s", "1d", "-2m", "1e3s", "0x1s", "1.5.0s"),
    )
)
CONTROL = st.fixed_dictionaries(
    {},
    optional={"suspend": st.booleans(), "message": TEXT, "retryAfter": DURATION, "other": VALUES},
)
DIRECTORY = st.sampled_from(["", ".", "a", "b", "a/", "./a", "a/b", "..", "a/..", "/", "/a", "../a", " "])
SELECTORS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"directory": DIRECTORY, "matchLabels": st.dictionaries(TEXT.filter(bool), TEXT, max_size=2)}
    ),
    max_size=4,
)


def kratix(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the library answers to each case."""
    try:
        program = find("kratix-contract")
    except ToolMissing as error:
        pytest.skip(str(error))
    lines = "".join(f"{json.dumps(case)}\n" for case in cases)
    ran = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def by_type(status: dict[str, Any]) -> dict[str, Any]:
    """A status whose conditions are in an order of their own: Kratix's have none."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return status
    return {**status, "conditions": sorted(conditions, key=lambda one: json.dumps(one, sort_keys=True))}


FEW = settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.generate,),  # twenty cases at once, so that shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)


@FEW
@given(st.lists(st.tuples(STATUS, STATUS), min_size=20, max_size=20))
def test_a_status_is_merged_as_by_kratix(pairs):
    answers = kratix([{"status": {"known": known, "incoming": incoming}} for known, incoming in pairs])
    for (known, incoming), answer in zip(pairs, answers, strict=True):
        assert by_type(merge_status(known, incoming)) == by_type(answer["value"]), (known, incoming)


@FEW
@given(st.lists(CONTROL, min_size=20, max_size=20))
def test_a_control_file_is_read_as_by_kratix_but_for_times_that_are_refused(controls):
    texts = [yaml.safe_dump(control, allow_unicode=True) for control in controls]
    for text, answer in zip(texts, kratix([{"control": text} for text in texts]), strict=True):
        if "error" in answer:
            with pytest.raises(ToolFailed):
                read_control(text)
            continue
        value = answer["value"]
        if value["retryAfter"] < -1:
            with pytest.raises(ToolFailed, match="between 0 and a day"):
                read_control(text)
            continue
        ours = read_control(text)
        after = ours.retry_after_seconds
        assert (ours.suspend, ours.message) == (value["suspend"], value["message"]), text
        assert value["retryAfter"] == (-1 if after is None else round(after * 10**9)), text


@FEW
@given(st.lists(SELECTORS, min_size=20, max_size=20))
def test_destination_selectors_are_read_as_by_kratix_but_for_what_is_outside_of_the_output(lists):
    texts = [yaml.safe_dump(entries) for entries in lists]
    for text, answer in zip(texts, kratix([{"selectors": text} for text in texts]), strict=True):
        if "error" in answer:
            with pytest.raises(ToolFailed):
                read_selectors(text)
            continue
        theirs = [(one.get("directory") or ROOT, one["matchLabels"]) for one in answer["value"] or ()]
        if {directory for directory, _ in theirs} & {"..", "/"}:  # no directory of the output
            with pytest.raises(ToolFailed, match="inside another directory"):
                read_selectors(text)
            continue
        assert [(one.directory, dict(one.labels)) for one in read_selectors(text)] == theirs, text
