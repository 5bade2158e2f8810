"""Traces: off costs nothing, and where an operation is can be told beforehand."""

from __future__ import annotations

import ast
import asyncio
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import typer
from temporalio.exceptions import ApplicationError

from bondstone.api.tracing import Traced
from bondstone.base.errors import ToolFailed
from bondstone.base.tracing import spans
from bondstone.base.tracing.export import wanted
from bondstone.base.tracing.spans import SpanPlace
from bondstone.model import operation_trace
from bondstone.model.service import OperationKind, OperationRecord, RevisionRef, ServiceId

ASKED = SpanPlace("1" * 32, "2" * 16)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def record(**fields: object) -> OperationRecord:
    return OperationRecord(
        service=ServiceId(team="payments", name="orders"),
        number=7,
        kind=OperationKind.PATCH,
        revision=RevisionRef(promise="queue", version="1.0.0", digest="sha256:0"),
        request_id="r",
        requested_by="ada",
        requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_traces_are_sent_where_the_environment_names_a_collector(environment, expected):
    assert wanted(environment) is expected


def test_nothing_of_opentelemetry_is_imported_unless_a_collector_is_named():
    modules = "bondstone.cli.app, bondstone.cli.session, bondstone.client, bondstone.workers.control"
    modules += ", bondstone.workers.executor"
    program = f"import sys, {modules}; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], env={}, check=False, timeout=60).returncode == 0


def test_a_collector_without_the_packages_stops_nothing():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from bondstone.base.tracing import export as tracing_export, spans as tracing\n"
        "assert not tracing_export.start('bond')\n"
        "with tracing.span('x') as span: span.set('a', 1); span.fail('B')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=ENDPOINT, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "pip install 'bondstone[tracing]'" in ran.stdout + ran.stderr


def test_a_collector_that_does_not_answer_holds_nobody_up():
    program = (
        "import os\nfrom bondstone.base.tracing import export as tracing_export, spans as tracing\n"
        "assert tracing_export.start('bond')\n"
        "with tracing.span('x'): pass\n"
        "tracing_export.stop(); os._exit(0)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "300",
        }
        assert (
            subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=90).returncode
            == 0
        )


@pytest.mark.parametrize(
    "wrong", ["", "garbage", f"00-{'0' * 32}-{'2' * 16}-01", f"00-{'1' * 32}-{'2' * 15}-01", f"{ASKED}-x"]
)
def test_what_is_no_traceparent_is_no_place(wrong):
    assert SpanPlace.parse(wrong) is None


def test_an_operation_is_in_the_trace_of_whoever_asked_for_it():
    place, parent, link = operation_trace.of_operation(record(trace=str(ASKED)))
    assert (place.trace, parent, link) == (ASKED.trace, ASKED, None)
    assert operation_trace.trace_id(record(trace=str(ASKED))) == ASKED.trace


def test_an_operation_of_a_campaign_is_a_trace_of_its_own_and_linked():
    of_campaign = record(trace=str(ASKED), campaign="cve")
    place, parent, link = operation_trace.of_operation(of_campaign)
    assert (parent, link) == (None, ASKED)
    assert place.trace != ASKED.trace
    assert operation_trace.trace_id(of_campaign) == place.trace


def test_an_operation_that_nobody_asked_for_begins_a_trace():
    place, parent, link = operation_trace.of_operation(record())
    assert (parent, link) == (None, None)
    assert SpanPlace.parse(str(place)) == place
    assert operation_trace.trace_id(record()) == ""


def test_replays_find_the_same_ids_and_other_operations_others():
    first, again = (operation_trace.of_operation(record(trace=str(ASKED)))[0] for _ in range(2))
    assert first == again
    later = record(trace=str(ASKED)).changed(requested_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert operation_trace.of_operation(later)[0].span != first.span


def test_what_a_sampler_has_decided_against_stays_so():
    place, _, _ = operation_trace.of_operation(record(trace=f"00-{'1' * 32}-{'2' * 16}-00"))
    assert place.flags == "00"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToolFailed("the password is s3cret"), "TOOL_FAILED"),
        (ApplicationError("s3cret", type="PLAN_STALE"), "PLAN_STALE"),
        (ApplicationError("s3cret"), "ApplicationError"),
        (asyncio.CancelledError("s3cret"), "CANCELLED"),
        (ValueError("s3cret"), "ValueError"),
        (typer.Exit(0), ""),
        (typer.Exit(1), "Exit"),
    ],
)
def test_rule_7_a_span_has_the_code_of_an_error_and_not_its_message(error, code):
    assert spans.code_of(error) == code


def test_a_tool_is_told_where_it_is_only_within_a_trace():
    assert spans.environment() == {}
    with spans.inside(str(ASKED)):
        assert spans.environment() == {"TRACEPARENT": str(ASKED)}
    assert spans.environment() == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("header", "continued"),
    [
        (str(ASKED), str(ASKED)),
        ("", ""),
        ("00-nonsense-01", ""),
        (f"00-{'0' * 32}-{'2' * 16}-01", ""),
        (f"{ASKED}\r\nx: y", ""),
        (f"00-{'AB' * 16}-{'2' * 16}-01", ""),
    ],
)
async def test_the_api_is_in_the_trace_of_its_caller_while_it_answers(method, header, continued):
    within = []

    async def app(_scope, _receive, send):
        within.append(spans.here())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(_message):
        """To nobody."""

    headers = [(b"traceparent", header.encode())] if header else []
    await Traced(app)({"type": "http", "method": method, "path": "/", "headers": headers}, None, send)
    assert within == [continued]
    assert spans.here() == ""


SPANS_OF_THE_API = """
import asyncio, httpx2
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from bondstone.api.app import create_app
from bondstone.base.settings import Settings

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)

async def main():
    app = httpx2.ASGITransport(create_app(Settings(), None))
    async with httpx2.AsyncClient(transport=app, base_url="http://127.0.0.1") as client:
        await client.get("/healthz?canary")
        await client.post("/api/v1/services/canary")
        await client.request("CANARY", "/api/v1/services")

asyncio.run(main())
print("SPANS", [(span.name, dict(span.attributes)) for span in kept.get_finished_spans()])
"""


def test_the_api_has_no_spans_but_ours_and_no_address_is_in_one():
    program = [sys.executable, "-c", SPANS_OF_THE_API]
    ran = subprocess.run(program, check=True, timeout=120, text=True, capture_output=True)
    assert ast.literal_eval(ran.stdout.rpartition("SPANS ")[2]) == [
        ("HTTP POST", {"http.response.status_code": 404}),
        ("HTTP", {"http.response.status_code": 405, "http.route": "/api/v1/services"}),
    ]
