"""Dashboard and alert rules ask only for metrics, labels and values that exist."""

from __future__ import annotations

import json
import re

import pytest
from ruamel.yaml import YAML

from bondstone.base.metrics import METRICS
from harness.pinned import ROOT
from tools import dashboard

PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
OURS = {metric.name: metric for metric in METRICS}
LISTED = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
SDK_LABELS = {"process", "task_queue", "activity_type", "workflow_type", "instance", "le"}


def rules() -> list[dict]:
    document = YAML(typ="safe").load((ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    panels = json.loads((ROOT / dashboard.PAGE).read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules()]


def used(query: str) -> list[tuple[str, str]]:
    """Metric and label matchers of each selector in a query."""
    return re.findall(r"\b((?:bond|temporal)_\w+)(?:\{(.*?)\})?", query)


@pytest.mark.parametrize("query", queries())
def test_every_metric_is_one_that_the_page_lists(query):
    assert used(query)
    for name, _ in used(query):
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert base in LISTED or name in LISTED, name
        if base != name and base in OURS:
            assert OURS[base].kind == "histogram"


@pytest.mark.parametrize("query", queries())
def test_labels_are_those_of_the_metric(query):
    for name, matchers in used(query):
        metric = OURS.get(re.sub(r"_(bucket|count|sum)$", "", name))
        allowed = {*metric.labels, "process", "instance", "le"} if metric else SDK_LABELS
        assert set(re.findall(r"(\w+)\s*=~?\s*\"", matchers)) <= allowed
        grouped = {label.strip() for by in re.findall(r"by \((.*?)\)", query) for label in by.split(",")}
        assert grouped <= allowed, query


def test_states_and_uses_of_slots_are_those_that_are_said():
    text = OURS["bond_terraform_slots"].text
    for query in queries():
        for value in re.findall(r'(?:state|use)="(\w+)"', query):
            assert f"`{value}`" in text


def test_parentheses_of_queries_are_closed():
    for query in queries():
        assert query.count("(") == query.count(")")
        assert query.count("{") == query.count("}")


def test_alerts_say_what_to_do():
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in rule["expr"], rule["alert"]
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    panels = json.loads((ROOT / dashboard.PAGE).read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels})
