"""A form of a schedule that a browser sends twice, as after a double click, is one request."""

import re

from test_console_typed_again import browser, giving, schedule, sent, visitor

__all__ = ["browser"]

SPAN = {"begin": "2026-11-29T00:00", "end": "2026-11-30T00:00"}


async def test_a_trigger_or_a_backfill_that_is_sent_twice_is_one_request(browser):
    requests = []

    async def carried_out(*_arguments, request_id="", **_options):
        requests.append(request_id)

    async def forms(client) -> list[dict[str, str]]:
        """What the page's forms for verbs of the schedule send besides what is typed."""
        page = (await client.get("/calendar")).text
        tags = re.findall(r'<form[^>]* action="/calendar/schedules/nightly">.*?</form>', page, re.DOTALL)
        return [dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]+)"', form)) for form in tags]

    who = visitor(
        "admin",
        schedules={
            "list": giving([schedule("nightly")]), "get": giving(schedule("nightly")),
            "trigger": carried_out, "backfill": carried_out,
        },
    )  # fmt: skip
    async with browser(who) as client:
        for _page in range(2):
            first, more = await forms(client)
            for _click in range(2):
                for hidden, typed in (
                    (first, {"verb": "trigger"}),
                    (more, {"verb": "backfill", **SPAN}),
                    (more, {"verb": "backfill", **SPAN, "end": "2026-11-29T12:00"}),
                ):
                    answer = await sent(client, "/calendar", "/calendar/schedules/nightly", **hidden | typed)
                    assert answer.status_code == 303
    once, again = requests[:3], requests[6:9]
    assert requests == [*once, *once, *again, *again]
    assert len({*once, *again}) == 6
    assert all(requests)
