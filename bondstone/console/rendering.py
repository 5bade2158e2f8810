"""Templates and their filters: escaped everywhere, hidden characters spelt out, times said twice.

Everything that a template prints goes through `spelt_out`: text of others that turns around or cannot be seen
reads as what it is, as in the tables of `bond`. What a person may send back unchanged, the value of a field, is
marked by the filter `typed` and stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from bondstone.base.printable import is_plain, visible
from bondstone.client.explanation import ReadingTime
from bondstone.model.campaign.state import CampaignStatus, TargetOutcome
from bondstone.model.service import Health, OperationStatus, Phase, StepStatus
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it import MarkdownIt

TONES: Final[Mapping[str, str]] = {
    **dict.fromkeys((
        Phase.READY, Health.HEALTHY, OperationStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT,
        CampaignStatus.COMPLETED, "approved", "allow", "done", "active", "delivered", "current",
    ), "good"),
    **dict.fromkeys((
        Phase.FAILED, Phase.DEGRADED, Health.UNHEALTHY, OperationStatus.REJECTED, StepStatus.BLOCKED,
        CampaignStatus.ABORTED, CampaignStatus.COMPLETED_WITH_FAILURES, TargetOutcome.TIMED_OUT,
        TargetOutcome.UNREACHABLE, TargetOutcome.REFUSED, "deny", "yanked",
    ), "bad"),
    Health.UNKNOWN: "dim",
    **dict.fromkeys((
        Phase.AWAITING_APPROVAL, Phase.ABANDONED, Phase.DECOMMISSIONED, OperationStatus.CANCELLED,
        OperationStatus.ROLLED_BACK, StepStatus.SKIPPED, StepStatus.DEFERRED, CampaignStatus.PAUSED,
        CampaignStatus.SOAKING, CampaignStatus.WAITING_WINDOW, CampaignStatus.SUPERSEDED,
        TargetOutcome.NOT_ATTEMPTED, "waiting", "approval", "gate", "warn", "deprecated",
    ), "wait"),
}  # fmt: skip
"""Status to the tone of its badge; the word is always written beside the colour."""
SYMBOLS: Final[Mapping[str, str]] = {"good": "✓", "bad": "✕", "wait": "◆", "busy": "…", "dim": "?"}
ACTION_ORDER: Final = ("replace", "delete", "forget", "update", "create", "move", "import")
"""Plans are shown with what destroys first, moves and imports last."""
_NAMED: Final = re.compile(r"`([^`]+)`")
_TAGS: Final = {"p", "em", "strong", "code", "pre", "ul", "ol", "li", "a", "h3", "h4", "blockquote", "br"}


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of the console."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # noqa: PLC0415 - see `markdown`

    env = Environment(
        loader=PackageLoader("bondstone.console"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=spelt_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "tone": tone, "symbol": symbol, "when": when, "took": took, "pretty": pretty, "markdown": markdown,
        "ordered": ordered, "address": address, "clock": clock, "typed": Typed,
    }  # fmt: skip
    env.tests["plain"] = is_plain
    return env


class Typed(str):
    """A text that stands in a field: it is sent back, so it stays as it is, hidden characters too."""

    __slots__ = ()


def spelt_out(value: object) -> object:
    """What a template prints, with hidden characters spelt out; markup was made of such values already."""
    return value if isinstance(value, Markup | Typed) else visible(str(value))


def legible(markup: Markup) -> Markup:
    """A drawing with the hidden characters of the names in it spelt out; they need no escaping then."""
    return Markup(visible(markup))  # noqa: S704 - it is markup, and what is put in is letters and digits


def tone(status: object) -> str:
    """The tone of a status: good, bad, wait, or busy for whatever is under way."""
    return TONES.get(str(status), "busy")


def sentence(words: str) -> Markup:
    """Words as a page's first sentence: a capital at the beginning, a full stop at the end, `names` as code."""
    stop = "" if words.endswith((".", "…", "!", "?")) else "."
    escaped = str(escape(visible(f"{words[:1].upper()}{words[1:]}{stop}")))
    return Markup(_NAMED.sub(r"<code>\1</code>", escaped))  # noqa: S704 - escaped just now


def symbol(status: object) -> str:
    """What stands before a status, so that colour is never alone."""
    return SYMBOLS[tone(status)]


def when(at: datetime | None) -> Markup:
    """A time: relative for reading, absolute in UTC for the record."""
    if at is None:
        return Markup("-")
    utc = at.astimezone(UTC)
    delta = datetime.now(UTC) - utc
    words = f"{_length(delta)} ago" if delta >= timedelta(0) else f"in {_length(-delta)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M:%SZ"), words
    )


def clock(at: datetime) -> str:
    """A time as a clock shows it, in UTC; with its date where that is not today."""
    return ReadingTime().words(at)


def took(started: datetime | None, finished: datetime | None) -> Markup:
    """How long something ran, or has been running: then it is marked as a time, which passes by itself."""
    if started is None:
        return Markup("-")
    if finished is None:
        return Markup("<time>{}</time>").format(duration(datetime.now(UTC) - started))
    return Markup("{}").format(duration(finished - started))


def pretty(value: Any) -> str:
    """A JSON value as people read it: texts bare, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


@lru_cache(maxsize=1)
def _markdown_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see `markdown`

    return MarkdownIt("commonmark", {"html": False})


def markdown(text: str) -> Markup:
    """Markdown of a promise as safe HTML: no raw HTML, few tags, links that open nothing by themselves."""
    import nh3  # noqa: PLC0415 - 3 MiB with the parser, which an idle platform does without

    html = _markdown_parser().render(visible(text))
    return Markup(nh3.clean(html, tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"https", "http", "mailto"}))  # noqa: S704 - sanitised


def ordered(changes: Any) -> list[Any]:
    """Changes with replace and delete first, moves and imports last."""
    return sorted(changes, key=lambda change: (ACTION_ORDER.index(change.action), change.address))


def address(operation: str) -> str:
    """The path of a service's or an operation's page: `a/b/op/7` to `/services/a/b/operations/7`."""
    service, _, number = operation.partition("/op/")
    return f"/services/{service}/operations/{number}" if number else f"/services/{service}"


def _length(delta: timedelta) -> str:
    seconds = int(delta.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
