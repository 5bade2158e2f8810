"""What the handlers of all pages share: rendering with the visitor, refusing in words, and live pages."""

from __future__ import annotations

import hashlib
import inspect
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bondstone.api.events.streams import answer, states
from bondstone.api.events.watchers import Seen
from bondstone.api.index.services import FleetCounts
from bondstone.api.state import ApiState, State
from bondstone.base.errors import BondError, InvalidInput, NotFound
from bondstone.client.documents.service import ServiceDocument
from bondstone.console.rendering import environment, took
from bondstone.console.security import HEADERS, check_form
from bondstone.console.session import Visit, Visitor
from bondstone.model.identity import Target
from bondstone.promise.bundle import MAX_FILES

NAVIGATION: Final = (
    ("/", "Home"), ("/catalogue", "Catalogue"), ("/services", "Services"), ("/approvals", "Approvals"),
    ("/campaigns", "Campaigns"), ("/calendar", "Schedules, freezes"), ("/rules", "Policies, access"),
    ("/ledger", "Ledger"), ("/platform", "Platform"),
)  # fmt: skip

Page = Callable[[Visitor], Awaitable["View"]]

_PASSING: Final = re.compile(r"console-[0-9a-f]{16}|<time[^>]*>[^<]*</time>")
_LIVE_BEGINS: Final = '<div id="live">'
_LIVE_ENDS: Final = "</div><!-- live -->"

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)
_live: dict[str, Callable[..., Awaitable[View]]] = {}


class View:
    """A page before it is rendered.

    Args:
        template: Its template.
        here: Which entry of the navigation it belongs to.
        live: The path whose changes it follows; empty for a page that stands still.
        **values: What the template uses.
    """

    def __init__(self, template: str, here: str, *, live: str = "", **values: Any) -> None:
        self.template = template
        self.here = here
        self.live = live
        self.values = values

    def html(self, visitor: Visitor | None) -> str:
        """The whole page."""
        template = environment().get_template(self.template)
        return template.render(
            visitor=visitor, navigation=NAVIGATION, here=self.here, live=self.live, took=took,
            request_id=f"console-{secrets.token_hex(8)}", **self.values,
        )  # fmt: skip

    def inner(self, visitor: Visitor) -> str:
        """What is inside of `#live`. Its fields have an id and `hx-morph-skip`: an update leaves them as typed."""
        return self.html(visitor).partition(_LIVE_BEGINS)[2].partition(_LIVE_ENDS)[0]


def piece(template: str, **values: Any) -> str:
    """A piece of a page, which the browser asks for by itself."""
    return environment().get_template(template).render(**values)


def shown(view: View, visitor: Visitor | None, refused: BondError | None = None) -> HTMLResponse:
    """The answer with a page. What was refused is logged, with who asked; a refusal of access is recorded."""
    return answered(view.html(visitor), visitor, refused)


def answered(page: str, visitor: Visitor | None, refused: BondError | None) -> HTMLResponse:
    """The answer with a page as it stands; as `shown`."""
    if refused is not None:
        if visitor is not None:
            visitor.note(refused)
        log.info(
            "refused", subject=visitor.name if visitor else "", status=refused.http_status, code=refused.code,
            message=refused.message, where=refused.where,
        )  # fmt: skip
    return HTMLResponse(page, refused.http_status if refused else 200, headers=HEADERS)


def to(path: str) -> RedirectResponse:
    """After a form: straight to where its result is."""
    return RedirectResponse(path, status_code=303, headers=HEADERS)


def problem(error: BondError, visitor: Visitor | None, back: str = "/") -> HTMLResponse:
    """The page of a refusal, in its words."""
    view = View("problem.html", "", error=error.info(), title="That was not possible", back=back)
    return shown(view, visitor, error)


async def form_of(request: Request, visitor: Visitor) -> dict[str, str]:
    """The texts of a submitted form, once it is known to come from this session.

    Raises:
        OriginRefused: another site, or another session, sent it.
    """
    return dict(await items_of(request, visitor))


async def items_of(request: Request, visitor: Visitor) -> list[tuple[str, str]]:
    """The names and texts of a submitted form in their order, where a name may come several times; as `form_of`.

    Raises:
        OriginRefused: another site, or another session, sent it.
    """
    items = [(key, value) for key, value in (await request.form()).multi_items() if isinstance(value, str)]
    check_form(request.headers, dict(items).get("csrf", ""), visitor.csrf)
    request.state.typed = items  # for the page that is shown where it is refused
    return items


async def upload_of(request: Request, visitor: Visitor) -> tuple[dict[str, str], dict[str, bytes]]:
    """The texts of a submitted form, and the files that were chosen, by their path below the folder's name.

    Raises:
        OriginRefused: another site, or another session, sent it.
    """
    texts: dict[str, str] = {}
    files: dict[str, bytes] = {}
    async with request.form(max_files=MAX_FILES) as form:
        for key, value in form.multi_items():
            if isinstance(value, str):
                texts[key] = value
            elif value.filename:
                files[value.filename] = await value.read()
    check_form(request.headers, texts.get("csrf", ""), visitor.csrf)
    request.state.typed = list(texts.items())
    return texts, files


def number_of(text: str, what: str, most: int) -> int:
    """A whole number from 1 on, of a field.

    Raises:
        InvalidInput: it is none, or more than `most`.
    """
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and 1 <= int(digits) <= most):
        raise InvalidInput(f"{what} is a number from 1 to {most}")
    return int(digits)


def target_of(service: ServiceDocument) -> Target:
    """A service as access documents see it."""
    return Target(team=service.team, promise=service.promise, labels=service.labels, name=service.id)


def promise_target(name: str) -> Target:
    """A promise as access documents see it."""
    return Target(promise=name, name=f"promise {name}")


def counts_of(visitor: Visitor, state: ApiState) -> FleetCounts:
    """How many services the visitor may see, by phase, team and so on; counted once for those who see all."""
    if visitor.permissions.decide("service.read").allowed:
        return state.services.counts()
    return state.services.counts(visitor.permissions.filter("service.read"))


def may(visitor: Visitor, target: Target, *verbs: str) -> dict[str, bool]:
    """Which of some verbs the visitor may do; buttons of others are not drawn."""
    return {verb: visitor.permissions.decide(verb, target).allowed for verb in verbs}


def follows(prefix: str) -> Callable[[Callable[..., Awaitable[View]]], Callable[..., Awaitable[View]]]:
    """Register what makes the view of every path below a prefix, so that the page can be live."""

    def register(function: Callable[..., Awaitable[View]]) -> Callable[..., Awaitable[View]]:
        _live[prefix] = function
        return function

    return register


def followed(path: str) -> Page:
    """What makes the view of a path.

    Raises:
        NotFound: no page of that path follows changes.
    """
    kind, *parts = path.strip("/").split("/")
    function = _live.get(kind)
    if function is not None:
        with suppress(TypeError):  # too few parts, or too many
            inspect.signature(function).bind(None, *parts)
            return lambda visitor: function(visitor, *parts)
    raise NotFound("that page has no live updates", where=path[:200])


@router.get("/live")
async def live(
    visitor: Visit,
    state: State,
    path: str,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=200)] = "",
) -> Response:
    """The page at a path, again whenever it changes: server-sent events that htmx swaps in."""
    follow = followed(path)

    async def read() -> Seen:
        view = await follow(visitor)
        steady = view.inner(visitor)
        html = steady.replace("\n", " ")
        return Seen(id=hashlib.sha256(_without_ids(html).encode()).hexdigest()[:32], event="", data=html)

    events = states(state.watchers, subject_of(visitor, path), read, last_event_id)
    return answer(state.watchers, events, last_event_id)


def subject_of(visitor: Visitor, path: str) -> str:
    """What windows share one read of: a page, as a session sees it with the roles that it has when it connects."""
    roles = hashlib.sha256(repr(visitor.permissions.grants).encode()).hexdigest()
    return f"{visitor.csrf} {roles} {path}"


def _without_ids(html: str) -> str:
    """A page without what is new in each rendering: request ids, and how long ago something was."""
    return _PASSING.sub("", html)
