"""Random requests from the OpenAPI description: no answer of 5xx, none outside the description; here only a few.

All of them, as every role: `python -m harness.openapi_fuzz` (CONTRIBUTING).
"""

from __future__ import annotations

import pytest
from platforms import PROMISES, running

from harness import openapi_fuzz
from harness.api_process import ApiProcess

pytestmark = pytest.mark.integration

PATHS = r"^/api/v1/(services|fleet|ledger)"
"""Of the hundred addresses those that a run of CI has time for."""


def test_random_requests_are_answered_as_the_description_says(tmp_path) -> None:
    if why := openapi_fuzz.missing():
        pytest.skip(why)
    with (
        running(tmp_path / "data") as platform,  # of its own: random services would be in other tests' lists
        ApiProcess(platform, "fuzzed", stream_seconds=openapi_fuzz.STREAM_SECONDS) as api,
    ):
        platform.bond("promise", "publish", str(PROMISES.parents[2] / "promises" / "queue"))
        openapi_fuzz.prepare(api)
        outcome = openapi_fuzz.fuzz(api, "developer", tmp_path, phases=["fuzzing"], examples=1, paths=PATHS)
    assert outcome.findings == (), outcome.output
    assert outcome.cases > 20, outcome.output
