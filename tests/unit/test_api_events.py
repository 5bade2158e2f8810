"""Streams of events: one read for all who follow, resumed where they were, ended in words."""

import asyncio
import json
import time

import pytest
from structlog.testing import capture_logs

from bondstone.api.events import logs, streams, watchers
from bondstone.api.events.watchers import Seen, Watchers
from bondstone.base.errors import CursorInvalid, NotFound, TooManyRequests, Unreachable
from bondstone.store.logs import LogInfo
from harness.waiting import until

LOOK_SECONDS = 0.01


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(watchers, "LOOK_SECONDS", LOOK_SECONDS)


class Subject:
    """Something that is followed: each call of `to` is a new state of it."""

    def __init__(self):
        self.state = Seen(id="1", event="operation", data='"1"')
        self.reads = 0

    def to(self, number, *, final=False):
        self.state = Seen(id=str(number), event="operation", data=f'"{number}"', final=final)

    async def was_read(self, times=2):
        """Return once all who follow have what it is now; a final state is read once."""
        enough = self.reads + times
        await until(lambda: self.reads >= enough, seconds=60)

    async def read(self):
        self.reads += 1
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


def parsed(event):
    """The fields of one event."""
    lines = event.decode().strip().splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith(":"))


async def ids(stream, count):
    """The ids of the next events that have one."""
    collected = []
    async for event in stream:
        if "id" in (fields := parsed(event)):
            collected.append(fields["id"])
        if len(collected) == count:
            return collected
    return collected


def follow(hub, subject, last=""):
    return streams._framed(hub, streams.states(hub, "operation/a", subject.read, last))


async def test_all_who_follow_share_one_reader_that_ends_with_the_last_of_them():
    hub, subject = Watchers(), Subject()
    many = [follow(hub, subject) for _ in range(50)]
    assert await asyncio.gather(*(ids(stream, 1) for stream in many)) == [["1"]] * 50
    assert hub.subjects == 1
    assert hub.streams == 50
    before, began = subject.reads, time.monotonic()
    await asyncio.sleep(0.1)
    assert subject.reads - before <= (time.monotonic() - began) / LOOK_SECONDS + 1, "not one read for each"
    await asyncio.gather(*(stream.aclose() for stream in many))
    assert (hub.subjects, hub.streams) == (0, 0)
    before = subject.reads
    await asyncio.sleep(0.05)
    assert subject.reads == before


async def test_a_slow_follower_misses_what_was_between_and_never_the_end():
    hub, subject = Watchers(), Subject()
    stream = follow(hub, subject)
    assert await ids(stream, 1) == ["1"]
    for number in (2, 3):
        subject.to(number)
        await subject.was_read()
    subject.to(4, final=True)
    await subject.was_read(1)
    assert await ids(stream, 9) == ["4", "4:end"]


async def test_who_comes_back_hears_nothing_until_something_changed():
    hub, subject = Watchers(), Subject()
    stream = follow(hub, subject, last="1")
    waiting = asyncio.create_task(ids(stream, 1))
    await subject.was_read()
    assert not waiting.done()
    subject.to(2)
    assert await asyncio.wait_for(waiting, 60) == ["2"]
    await stream.aclose()


async def test_who_comes_back_after_the_end_is_told_to_stop():
    hub, subject = Watchers(), Subject()
    events = streams.states(hub, "operation/a", subject.read, "4:end")
    assert streams.answer(hub, events, "4:end").status_code == 204


async def test_an_end_that_changes_nothing_else_is_told_too():
    hub, subject = Watchers(), Subject()
    async with asyncio.timeout(60), hub.follow("operation/a", subject.read) as watcher:
        assert not (await watcher.next("")).final
        subject.to(1, final=True)
        assert (await watcher.next("1")).final


async def test_a_process_that_stops_ends_its_streams():
    hub, subject = Watchers(), Subject()
    stream = follow(hub, subject)
    assert await ids(stream, 1) == ["1"]
    hub.closing.set()
    assert await asyncio.wait_for(ids(stream, 1), 60) == []
    assert hub.streams == 0


async def test_a_failure_that_passes_is_waited_out_and_another_is_said_in_words():
    hub, subject = Watchers(), Subject()
    subject.state = Unreachable("not now")
    stream = follow(hub, subject)
    waiting = asyncio.create_task(ids(stream, 1))
    await subject.was_read()
    subject.to(1)
    assert await asyncio.wait_for(waiting, 60) == ["1"]
    subject.state = NotFound("it is gone")
    problem, ended = [parsed(event) async for event in stream]
    assert problem["event"] == "problem"
    assert json.loads(problem["data"])["code"] == "NOT_FOUND"
    assert ended["event"] == "end"


async def test_an_error_that_nobody_foresaw_is_logged_and_ends_the_streams_and_the_next_begins_anew():
    hub, subject = Watchers(), Subject()
    stream, other = follow(hub, subject), follow(hub, subject)
    assert await ids(stream, 1) == await ids(other, 1) == ["1"]
    with capture_logs() as logged:
        subject.state = ValueError("nobody foresaw it")
        async with asyncio.timeout(60):
            assert [event async for event in stream] == [], "no end: the client is to come back"
    assert [(entry["log_level"], "event streams" in entry["event"]) for entry in logged] == [("error", True)]
    subject.to(2)
    anew = follow(hub, subject, last="1")  # the other one has not left yet
    async with asyncio.timeout(60):
        assert await ids(anew, 1) == ["2"]
        subject.to(3, final=True)
        assert await ids(anew, 9) == ["3", "3:end"]
        assert [event async for event in other] == []
    assert (hub.subjects, hub.streams) == (0, 0)


async def test_a_quiet_stream_is_pinged(monkeypatch):
    monkeypatch.setattr(streams, "PING_SECONDS", 0.01)
    hub, subject = Watchers(), Subject()
    stream = follow(hub, subject, last="1")
    await anext(stream)
    assert (await anext(stream)).startswith(b": ping")
    await stream.aclose()


async def test_a_quiet_stream_ends_in_time_and_not_with_the_next_ping(monkeypatch):
    monkeypatch.setattr(streams, "STREAM_SECONDS", 0.05)
    monkeypatch.setattr(streams, "PING_SECONDS", 3600.0)
    hub = Watchers()
    async with asyncio.timeout(60):
        assert [event async for event in follow(hub, Subject(), last="1")] == [b"retry: 1000\n\n"]
    assert (hub.subjects, hub.streams) == (0, 0)


async def test_streams_beyond_what_a_process_takes_are_refused(monkeypatch):
    monkeypatch.setattr(watchers, "MAX_STREAMS", 1)
    hub, subject = Watchers(), Subject()
    stream = follow(hub, subject)
    await ids(stream, 1)
    with pytest.raises(TooManyRequests):
        streams.answer(hub, follow(hub, subject), "")
    await stream.aclose()


async def test_many_subjects_are_each_read_less_often():
    hub = Watchers()
    few = hub.pause(3600)
    hub._watchers = dict.fromkeys(range(500))
    assert hub.pause(0) == hub.pause(3600) == 500 / watchers.READS_PER_SECOND
    assert few == watchers.LOOK_SECONDS


def test_a_subject_that_has_just_changed_is_read_again_sooner(monkeypatch):
    monkeypatch.setattr(watchers, "LOOK_SECONDS", 1.0)
    hub = Watchers()
    assert [hub.pause(quiet) for quiet in (0, 1, 3600)] == [watchers.FIRST_LOOK_SECONDS, 0.5, 1.0]


async def test_a_watcher_counts_from_the_last_change_of_its_subject():
    subject, quiet = Subject(), []

    def pause(seconds):
        quiet.append(seconds)
        return 0.02

    reading = asyncio.create_task(watchers.Watcher(subject.read, pause).keep())
    await until(lambda: len(quiet) >= 4, seconds=60)
    subject.to(2)
    before = len(quiet)
    await until(lambda: len(quiet) >= before + 2, seconds=60)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert quiet[3] > quiet[1], "nothing had changed"
    assert min(quiet[before:]) < quiet[3], "it had changed"


# Logs -------------------------------------------------------------------------------------------------------


class StoredLogs:
    """Logs of two steps, in parts."""

    def __init__(self):
        self.parts = {"database": [["a1", "a2"]], "schema": []}
        self.reads = 0

    async def chunks(self, _service, _operation):
        infos = [LogInfo(step, step, "apply", "1", None, 0) for step, parts in self.parts.items() if parts]
        return [
            (info, tuple(f"{info.key}/{number}" for number in range(len(self.parts[info.key])))) for info in infos
        ]

    async def chunk(self, key):
        self.reads += 1
        step, number = key.split("/")
        return self.parts[step][int(number)]


async def followed_lines(stored, *, ended, last=""):
    """Every line with its step, and the last position."""
    hub = Watchers()
    read = logs.reader(stored, None, 1, ended)
    result, position = [], ""
    async for event in logs.lines(hub, logs.LogChunks(stored), "logs/a", read, logs.position_of(last)):
        fields = parsed(event)
        position = fields.get("id", position)
        if fields["event"] == "log":
            data = json.loads(fields["data"])
            result += [f"{data['step']} {line}" for line in data["lines"]]
    return result, position


async def yes():
    return True


async def test_lines_of_all_logs_come_once_and_go_on_where_the_client_was():
    stored = StoredLogs()
    stored.parts["schema"].append(["b1"])
    lines, position = await followed_lines(stored, ended=yes)
    assert lines == ["database a1", "database a2", "schema b1"]
    assert position == "1.1:end"
    stored.parts["database"].append(["a3"])
    assert (await followed_lines(stored, ended=yes, last="1.1"))[0] == ["database a3"]


async def test_lines_that_come_while_it_runs_are_told_and_the_end_is_after_the_last():
    stored = StoredLogs()
    looks = iter([False, False, True])

    async def ended():
        now = next(looks)
        if now:
            stored.parts["schema"].append(["b1"])
        return now

    assert (await followed_lines(stored, ended=ended))[0] == ["database a1", "database a2", "schema b1"]


async def test_a_long_part_comes_in_events_of_a_bounded_size_and_only_the_last_moves_the_position():
    stored = StoredLogs()
    stored.parts["database"] = [[str(number) for number in range(logs.LINES_AN_EVENT + 1)]]
    read = logs.reader(stored, None, 1, yes)
    stream = logs.lines(Watchers(), logs.LogChunks(stored), "logs/a", read, [])
    events = [parsed(event) async for event in stream]
    assert [event.get("id") for event in events] == [None, "1", "1:end"]


@pytest.mark.parametrize("text", ["x", "1.x", "-1", "1" * 20, ".".join(["1"] * 501), "1:end"])
def test_a_position_of_another_stream_is_refused(text):
    with pytest.raises(CursorInvalid):
        logs.position_of(text)


async def test_parts_are_read_once_for_all_who_follow():
    stored = StoredLogs()
    chunks = logs.LogChunks(stored)
    await asyncio.gather(*(chunks.lines("database/0") for _ in range(20)))
    assert stored.reads == 1
