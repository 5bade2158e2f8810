"""A command as the beginning of a trace, or as a part of the one that `TRACEPARENT` names, as in a pipeline."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack

from bondstone.base.tracing import export, spans
from bondstone.cli import context


def begin() -> None:
    """Trace this command from here to its end, if it is to be; see `context.GlobalOptions.ended`."""
    if context.options.ended is not None or not export.start("bond"):
        return
    # What is printed is the command's. Workers log it when a collector does not take their spans.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    stack = ExitStack()
    parent = os.environ.get(spans.VARIABLE, "")
    span = stack.enter_context(spans.span(context.options.words, parent=parent, kind="CLIENT"))

    def ended(status: int) -> None:
        if status:
            span.fail(f"exit {status}")
        stack.close()
        export.stop()
        context.options.ended = None

    context.options.ended = ended
