"""A form that was refused, as it was filled in: on the page that it was sent from, with the problem beside it.

One mechanism for every form. A handler raises its refusal; the page is read once more, as the same visitor, and
what was typed is put into its form again: texts, choices and ticks, never secrets, files and what confirms a deed.
A handler whose form changes with what is typed (inputs of a service, a new campaign) draws it again itself.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.types import Message

from bondstone.base.errors import BondError
from bondstone.console.rendering import environment

PAGE: Final = "page-of-form"
"""Name of the field that says which page a form is on, once that is not the page of its address any more."""
MAX_PATH_CHARS: Final = 2000
READ_SECONDS: Final = 30.0
"""How long the page may take to be read once more."""
_NEVER_AGAIN: Final = frozenset({"csrf", "confirm", "request_id", PAGE})
_KEPT_TYPES: Final = frozenset({"hidden", "password", "file", "submit"})
_FORM: Final = re.compile(r'<form\b[^>]*\bmethod="post"[^>]*>.*?</form>', re.DOTALL)
_START: Final = re.compile(r"<form\b[^>]*>")
_INPUT: Final = re.compile(r"<input\b[^>]*>")
_AREA: Final = re.compile(r"(<textarea\b[^>]*>)(.*?)(</textarea>)", re.DOTALL)
_SELECT: Final = re.compile(r"(<select\b[^>]*>)(.*?)(</select>)", re.DOTALL)
_OPTION: Final = re.compile(r"(<option\b)([^>]*)(>)([^<]*)")
_DETAILS: Final = re.compile(r"<(/?)details\b[^>]*>")
_MAIN: Final = re.compile(r"<main\b[^>]*>")
_LIVE: Final = '<div id="live">'
_LIVE_ENDS: Final = "</div><!-- live -->"

Typed = Sequence[tuple[str, str]]


async def page_again(request: Request, typed: Typed, error: BondError) -> str | None:
    """The page that a refused form was sent from, with the form as it was typed.

    Args:
        request: That sent the form, of the session that the page belongs to.
        typed: Names and texts of its fields.
        error: Why it was refused.

    Returns:
        None where the browser does not say which page that was, or where the page cannot be read.
    """
    path = page_of(request, dict(typed).get(PAGE, ""))
    page = await _read(request, path) if path else None
    return None if page is None else refilled(page, request.url.path, typed, error, path)


def page_of(request: Request, named: str) -> str:
    """Path and query of the page that a form was sent from; empty where that is not known.

    Args:
        request: That sent it. The browser names its page, to its own site only.
        named: What the form says itself.
    """
    sent_from = urlsplit(request.headers.get("referer", "")[:MAX_PATH_CHARS])
    path = sent_from.path + (f"?{sent_from.query}" if sent_from.query else "")
    if named:
        path = named[:MAX_PATH_CHARS]
    elif sent_from.netloc != request.url.netloc:
        return ""
    return path if path.startswith("/") and not path.startswith("//") and path.isprintable() else ""


def refilled(page: str, action: str, typed: Typed, error: BondError, path: str) -> str:
    """A page with one of its forms filled in again, and the problem beside it.

    Args:
        page: Of the console's own templates: whatever it shows is escaped.
        action: Where the form is sent to.
        typed: Names and texts of its fields.
        error: Why it was refused.
        path: Of the page, which its forms say from now on.
    """
    forms = [match for match in _FORM.finditer(page) if _attribute(_START.match(match[0]), "action") == action]
    fields: dict[str, list[str]] = defaultdict(list)
    for name, value in typed:
        fields[name].append(value)
    problem = _problem(error)
    form = max(forms, key=lambda match: _likeness(match[0], fields), default=None)
    if form is None or _is_live(page, form.start()):
        page = _after(_MAIN, page, problem) if form is None else _in_live(page, form, fields, problem)
    else:
        begin, opened = _START.match(form[0]), _opened(page[: form.start()])
        if begin is not None:
            inner = begin[0] + problem + _filled(form[0][begin.end() :], fields)
            page = opened + inner + page[form.end() :]
    field = f'<input type="hidden" name="{PAGE}" value="{escape(path)}">'
    return _FORM.sub(lambda match: _after(_START, match[0], field), page)


async def _read(request: Request, path: str) -> str | None:
    """A page of the console, read by this process as the same session; None when it is no page to be read."""
    parts = urlsplit(path)
    kept = {"cookie", "host", "user-agent", "accept-language"}
    scope = {
        **{key: request.scope[key] for key in ("type", "asgi", "http_version", "scheme", "server", "client")},
        "method": "GET", "path": parts.path, "raw_path": parts.path.encode(), "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name, value) for name, value in request.scope["headers"] if name.decode("latin-1") in kept],
    }  # fmt: skip
    body = bytearray()
    page: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return requests.pop() if requests else await asyncio.Future()  # the reader does not go away

    async def send(message: Message) -> None:
        if page.done():
            return
        if message["type"] == "http.response.start":
            html = any(name == b"content-type" and b"text/html" in value for name, value in message["headers"])
            if message["status"] != HTTPStatus.OK or not html:  # a stream of events would not end
                page.set_result(None)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page.set_result(body.decode())

    reading = asyncio.ensure_future(request.app(scope, receive, send))
    try:
        await asyncio.wait({reading, page}, timeout=READ_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return page.result() if page.done() else None
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _in_live(page: str, form: re.Match[str], fields: Mapping[str, list[str]], problem: str) -> str:
    """Live updates replace what is inside of `#live`: the problem stands before it."""
    opened = _opened(page[: form.start()])
    return _after(_MAIN, opened + _filled(form[0], fields) + page[form.end() :], problem)


def _is_live(page: str, place: int) -> bool:
    begin, end = page.find(_LIVE), page.find(_LIVE_ENDS)
    return 0 <= begin < place < end


def _likeness(form: str, fields: Mapping[str, list[str]]) -> int:
    """How many of a form's own values, as which step it votes on, are those that were sent; buttons count too."""
    fields_of_form = [*_INPUT.finditer(form), *re.finditer(r"<button\b[^>]*>", form)]
    return sum(
        _attribute(match, "value") in fields.get(name, ())
        for match in fields_of_form
        if (name := _attribute(match, "name")) not in _NEVER_AGAIN
    ) * 10 + sum(f'name="{escape(name)}"' in form for name in fields)


def _filled(form: str, fields: Mapping[str, list[str]]) -> str:
    """The fields of a form with what was typed into them."""

    def values_of(start: str) -> list[str] | None:
        name = _named(start, "name")
        return fields.get(name) if name and name not in _NEVER_AGAIN else None

    def put(match: re.Match[str]) -> str:
        kind, values = _named(match[0], "type") or "text", values_of(match[0])
        if kind in {"checkbox", "radio"} and _named(match[0], "name"):
            bare = match[0].replace(" checked", "")
            return bare.replace("<input", "<input checked", 1) if _named(bare, "value") in (values or ()) else bare
        if values is None or kind in _KEPT_TYPES:
            return match[0]
        bare = re.sub(r'\svalue="[^"]*"', "", match[0])
        return bare.replace("<input", f'<input value="{escape(values[0])}"', 1)

    def write(match: re.Match[str]) -> str:
        values = values_of(match[1])
        if values is None or "secret" in _named(match[1], "class").split():
            return match[0]
        return f"{match[1]}\n{escape(values[0])}{match[3]}"  # a line's end right after the tag is none of the text

    def choose(match: re.Match[str]) -> str:
        values = values_of(match[1])
        return match[0] if values is None else match[1] + _OPTION.sub(_chosen(values), match[2]) + match[3]

    return _SELECT.sub(choose, _AREA.sub(write, _INPUT.sub(put, form)))


def _chosen(values: list[str]) -> Callable[[re.Match[str]], str]:
    def chosen(match: re.Match[str]) -> str:
        attributes = re.sub(r"\sselected\b", "", match[2])
        has_value = re.search(r'\bvalue="', attributes)
        value = _named(f"<option{attributes}>", "value") if has_value else unescape(match[4]).strip()
        return f"{match[1]}{attributes}{' selected' if value in values else ''}{match[3]}{match[4]}"

    return chosen


def _opened(before: str) -> str:
    """What stands before a form, with the folded parts open that the form is in."""
    around: list[re.Match[str]] = []
    for match in _DETAILS.finditer(before):
        if match[1]:
            del around[-1:]
        else:
            around.append(match)
    for match in reversed(around):
        if not re.search(r"\sopen\b", match[0]):
            before = f"{before[: match.end() - 1]} open{before[match.end() - 1 :]}"
    return before


def _problem(error: BondError) -> str:
    macros = environment().get_template("macros.html").module
    failure: Callable[..., Markup] = macros.failure  # type: ignore[attr-defined] # of the template
    return str(failure(error.info()))


def _after(pattern: re.Pattern[str], text: str, what: str) -> str:
    match = pattern.search(text)
    return text if match is None else text[: match.end()] + what + text[match.end() :]


def _attribute(match: re.Match[str] | None, name: str) -> str:
    return _named(match[0], name) if match else ""


def _named(tag: str, name: str) -> str:
    match = re.search(rf'\s{name}="([^"]*)"', tag)
    return unescape(match[1]) if match else ""
