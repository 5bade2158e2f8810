"""The graph of an operation's steps: what needs what, how each stands, how long it took."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import bondstone.console
from bondstone.client.documents.step import StepDocument
from bondstone.console.rendering import environment
from bondstone.console.step_graph import lasted, step_graph

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TEMPLATES = Path(bondstone.console.__file__).parent / "templates"
NEEDS = {"app": ["database", "cache"], "dns": ["app"], "cache": ["network"], "database": ["network"]}


def step(name: str, status: str = "succeeded", *, part: str = "", seconds: int | None = 3) -> StepDocument:
    begun = NOON - timedelta(minutes=1)
    return StepDocument(
        id=name, executor="terraform", status=status, part=part, started_at=None if status == "pending" else begun,
        finished_at=None if seconds is None or status == "pending" else begun + timedelta(seconds=seconds),
    )  # fmt: skip


STEPS = [step(name) for name in ("network", "cache", "database", "app", "dns")]


def places(svg: str) -> dict[str, tuple[int, int]]:
    """Where the box of each step is."""
    boxes = re.findall(r'href="#plan-([^"]+)".*?class="box \w+" x="(\d+)" y="(\d+)"', svg)
    return {name: (int(x), int(y)) for name, x, y in boxes}


def test_a_step_stands_behind_all_that_it_needs_and_beside_what_runs_at_once():
    at = places(step_graph(STEPS, NEEDS, NOON))
    assert at["network"][0] < at["cache"][0] == at["database"][0] < at["app"][0] < at["dns"][0]
    assert at["cache"][1] != at["database"][1]
    assert step_graph(STEPS, NEEDS, NOON).count('class="needs"') == 5


def test_a_decommission_is_drawn_from_the_other_end():
    at = places(step_graph(STEPS, NEEDS, NOON, backwards=True))
    assert at["dns"][0] < at["app"][0] < at["database"][0] < at["network"][0]


def test_parts_of_an_operation_stand_one_after_the_other_with_their_titles():
    svg = step_graph([step("app"), step("backup", part="before"), step("gone", part="removed")], {}, NOON)
    at = places(svg)
    assert at["backup"][0] < at["app"][0] < at["gone"][0]
    assert "no longer in the revision" in svg
    assert ">before<" in svg
    assert 'class="soft" x="0" y="14"' not in step_graph([step("app")], {}, NOON)


def test_each_step_says_how_it_stands_and_how_long_in_words_too():
    svg = step_graph([step("app", "applying", seconds=None), step("dns", "pending")], {"dns": ["app"]}, NOON)
    assert 'aria-label="app: applying 1m0s, terraform, ' in svg
    assert 'aria-label="dns: pending, terraform"' in svg
    assert 'aria-label="Steps: app applying; dns pending after app"' in svg


def test_a_running_step_changes_the_page_every_ten_seconds_only():
    runs = step("app", "applying", seconds=None)
    assert [lasted(runs, NOON + timedelta(seconds=n)) for n in (0, 9, 10)] == ["1m0s", "1m0s", "1m10s"]
    assert lasted(step("app", seconds=3), NOON) == "3.0s"
    assert lasted(step("app", "pending"), NOON) == ""


@pytest.mark.parametrize("needs", [{"a": ["b"], "b": ["a"]}, {"a": ["a", "elsewhere"]}, {}])
def test_needs_that_go_in_circles_or_elsewhere_are_drawn_all_the_same(needs):
    assert set(places(step_graph([step("a"), step("b")], needs, NOON))) == {"a", "b"}


def test_no_steps_are_no_drawing():
    assert step_graph([], {}, NOON) == ""


def test_the_page_of_an_operation_shows_what_was_wrong_with_how_its_steps_were_applied():
    template = '{% from "macros.html" import remarks %}{{ remarks(steps) }}'
    steps = [step("db"), step("hosts").changed(warnings=("web/<Touch> it is not idempotent",))]
    shown = environment().from_string(template).render(steps=steps)
    assert '<section class="card" aria-label="Warnings">' in shown
    assert "<li><strong>hosts</strong>: web/&lt;Touch&gt; it is not idempotent</li>" in shown
    assert "Checks that fail" not in shown
    assert "remarks(operation.steps)" in (TEMPLATES / "operation.html").read_text()
