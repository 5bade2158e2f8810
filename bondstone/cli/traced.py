"""A command as the beginning of a trace, or as a part of the one that `TRACEPARENT` names, as in a pipeline."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack

from bondstone import tracing, tracing_export
from bondstone.cli import context


def begin() -> None:
    """Trace this command from here to its end, if it is to be; see `context.GlobalOptions.ended`."""
    if context.options.ended is not None or not tracing_export.start("bond"):
        return
    # What is printed is the command's. Workers log it when a collector does not take their spans.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    stack = ExitStack()
    parent = os.environ.get(tracing.VARIABLE, "")
    span = stack.enter_context(tracing.span(context.options.words, parent=parent, kind="CLIENT"))

    def ended(status: int) -> None:
        if status:
            span.fail(f"exit {status}")
        stack.close()
        tracing_export.stop()
        context.options.ended = None

    context.options.ended = ended
