"""One stream, one format, nothing that leaks."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys

import pytest
import structlog
from python_terraform import Terraform

from bondstone.base import logs
from bondstone.base.settings import Settings


@pytest.fixture
def stream():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    logging.getLogger().handlers[:], level = before
    logging.getLogger().setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_the_standard_library_write_the_same_format_with_the_same_context(stream):
    logs.configure(Settings(log_format="json"), stream=stream, process="control")
    structlog.get_logger("ours").info("hello", service="a/b")
    logging.getLogger("theirs").warning("hello %s", "there")
    ours, theirs = lines(stream)
    assert ours["event"] == "hello"
    assert ours["service"] == "a/b"
    assert theirs["event"] == "hello there"
    for line in (ours, theirs):
        assert line["process"] == "control"
        assert line["timestamp"].endswith("Z")
        assert line["level"]


def test_what_the_sdk_attaches_becomes_fields(stream):
    logs.configure(Settings(log_format="json"), stream=stream)
    extra = {"temporal_activity": {"workflow_id": "service/a/b", "activity_type": "terraform.plan", "attempt": 2}}
    logging.getLogger("temporalio.activity").warning("slow", extra=extra)
    (line,) = lines(stream)
    assert (line["workflow_id"], line["attempt"]) == ("service/a/b", 2)


def test_an_exception_is_one_line(stream):
    logs.configure(Settings(log_format="json"), stream=stream)
    try:
        raise ValueError("bad")  # noqa: TRY301 - the point
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream)
    assert "ValueError: bad" in line["exception"]


def test_python_terraform_does_not_leak_argument_values_even_at_debug(stream):
    logs.configure(Settings(log_format="json", log_level="debug"), stream=stream)
    Terraform().generate_cmd_string("plan", var={"password": "c4nary"})
    with contextlib.suppress(Exception):  # what it does is its business, it logs on the root logger first
        Terraform(terraform_bin_path=sys.executable).version(var="c4nary")
    logging.getLogger().debug("but ours is there")
    assert "c4nary" not in stream.getvalue()
    assert lines(stream)[-1]["event"] == "but ours is there"


def test_the_level_is_respected(stream):
    logs.configure(Settings(log_format="json", log_level="warning"), stream=stream)
    structlog.get_logger().info("no")
    logging.getLogger("x").info("no")
    assert lines(stream) == []


@pytest.mark.parametrize(("inputs", "terminal", "expected"), [
    ("auto", False, True), ("auto", True, False), ("json", True, True), ("console", False, False),
])  # fmt: skip
def test_auto_means_json_unless_somebody_is_looking(inputs, terminal, expected):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    assert logs.wants_json(Settings(log_format=inputs), stream) is expected
