"""Times as people and programs write them: date, time and offset, never a number."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

_DATE_AND_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def _written_out(value: object) -> object:
    if value is None or (isinstance(value, str) and _DATE_AND_TIME.match(value)):
        return value
    raise PydanticCustomError("datetime", "write date and time, as in 2026-11-30T22:00:00Z")


WRITTEN_OUT: Final = BeforeValidator(_written_out)
"""Of a time: a number, which would count as seconds since 1970, and a date alone are none."""
Moment = Annotated[AwareDatetime, WRITTEN_OUT]
"""A time with its offset."""
