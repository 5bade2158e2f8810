"""Times in requests are written out: a number is no time, although it could be read as one."""

import pytest
from pydantic import TypeAdapter, ValidationError

from bondstone.api.routes.refusals import Time
from bondstone.api.routes.schedules import BackfillBody, FreezeBody

WRITTEN = "2026-11-30T22:00:00Z"


@pytest.mark.parametrize("wrong", [5, 0.5, "5", "0.5", "2026-11-30", "", True, "2026-11-30T22:00:00Z\n5x"])
def test_a_number_or_a_date_alone_is_no_time(wrong):
    for made in (
        lambda: FreezeBody(name="audit", begins_at=wrong),
        lambda: BackfillBody(begin=WRITTEN, end=wrong),
        lambda: TypeAdapter(Time).validate_python(wrong),
    ):
        with pytest.raises(ValidationError):
            made()


def test_a_time_that_is_written_out_is_one():
    assert FreezeBody(name="audit", begins_at=WRITTEN).begins_at == BackfillBody(begin=WRITTEN, end=WRITTEN).end
    assert FreezeBody(name="audit").begins_at is None
    assert TypeAdapter(Time).validate_python("2026-11-30 22:00").hour == 22
