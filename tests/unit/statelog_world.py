"""A world for state logs: a store whose every call waits until it is served, and a clock that only tests move."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bondstone.base.errors import ObjectMissing, StoreUnavailable
from bondstone.model.service import ServiceId
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import ObjectInfo
from bondstone.store.sealed import SealedObjects
from bondstone.store.state.entries import Clock
from bondstone.store.state.fence import Kind, LeaseTerms, StateEntry, decode
from bondstone.store.state.log import StateLog

SERVICE = ServiceId(team="payments", name="orders-db")
START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = LeaseTerms(term_seconds=30, renew_seconds=5, stop_seconds=15, poll_seconds=1)
RING = KeyRing.generate()


@dataclass(repr=False)
class Call:
    """One call to the store that has not been served yet."""

    writer: int
    method: str
    arguments: tuple
    answer: asyncio.Future


@dataclass(repr=False)
class Put:
    """One entry that really was written."""

    entry: StateEntry
    payload: bytes
    at_end: bool
    newest_claim: str
    """Token of the newest claim at that time, this entry included."""


class World:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.seconds = 1000.0
        self.objects: dict[str, bytes] = {}
        self.calls: list[Call] = []
        self.sleepers: list[tuple[float, int, asyncio.Future]] = []
        self.undelivered: list[tuple[Call, object]] = []
        self.puts: list[Put] = []
        self.frozen: set[int] = set()
        self.killed: set[int] = set()
        self.closing = False

    def clock(self, writer: int) -> Clock:
        async def sleep(seconds: float) -> None:
            waker = self.loop.create_future()
            self.sleepers.append((self.seconds + seconds, writer, waker))
            await waker

        return Clock(
            waited=lambda: self.seconds,
            elapsed=lambda: self.seconds,
            now=lambda: START + timedelta(seconds=self.seconds),
            sleep=sleep,
        )

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(15):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def tick(self, seconds: float) -> None:
        self.seconds += seconds
        self.wake()

    def wake(self) -> None:
        for sleeper in list(self.sleepers):
            due, writer, waker = sleeper
            if waker.done():
                self.sleepers.remove(sleeper)
            elif due <= self.seconds and writer not in self.frozen | self.killed:
                self.sleepers.remove(sleeper)
                waker.set_result(None)
        self.settle()

    def serve(self, call: Call, *, lose_answer: bool = False, fail: bool = False) -> None:
        self.calls.remove(call)
        if fail:
            self.deliver(call, StoreUnavailable("no answer"))
            return
        try:
            result: object = self.perform(call.method, *call.arguments)
        except ObjectMissing as error:
            result = error
        self.deliver(call, StoreUnavailable("answer lost") if lose_answer else result)

    def deliver(self, call: Call, result: object) -> None:
        if call.writer in self.killed or call.answer.done():
            return
        if call.writer in self.frozen:
            self.undelivered.append((call, result))
            return
        if isinstance(result, Exception):
            call.answer.set_exception(result)
        else:
            call.answer.set_result(result)
        self.settle()

    def thaw(self, writer: int) -> None:
        self.frozen.discard(writer)
        waiting = [item for item in self.undelivered if item[0].writer == writer]
        self.undelivered = [item for item in self.undelivered if item[0].writer != writer]
        for call, result in waiting:
            self.deliver(call, result)
        self.wake()

    def perform(self, method: str, *arguments: object) -> object:
        return getattr(self, f"do_{method}")(*arguments)

    def do_get(self, key: str) -> bytes:
        if key not in self.objects:
            raise ObjectMissing("gone", where=key)
        return self.objects[key]

    def do_put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def do_put_if_absent(self, key: str, data: bytes) -> bool:
        if key in self.objects:
            return False
        self.objects[key] = data
        position = int(key.rpartition("/")[2])
        entry, payload = decode(RING.unseal(data, key=key), position=position, key=key)
        at_end = position > max((put.entry.position for put in self.puts), default=0)
        newest = self.newest_claim()
        token = entry.token if at_end and entry.kind is Kind.CLAIM else (newest.token if newest else "")
        self.puts.append(Put(entry, payload, at_end, token))
        return True

    def do_list(self, prefix: str, after: str) -> list[ObjectInfo]:
        keys = sorted(key for key in self.objects if key.startswith(f"{prefix}/") and key > after)
        return [ObjectInfo(key, len(self.objects[key]), START) for key in keys]

    def do_delete(self, *keys: str) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def newest_claim(self) -> StateEntry | None:
        claims = [put.entry for put in self.puts if put.at_end and put.entry.kind is Kind.CLAIM]
        return claims[-1] if claims else None

    def log(self, writer: int, **options: object) -> StateLog:
        """A state log as one process sees it; process -1 is served at once."""
        sealed = SealedObjects(WaitingObjects(self, writer), RING)
        return StateLog(sealed, SERVICE, "database", terms=TERMS, clock=self.clock(writer), **options)

    def serve_everybody(self) -> None:
        """Serve all calls, and those that follow from them, of those who run."""
        for _ in range(60):
            served = [call for call in self.calls if call.writer not in self.frozen | self.killed]
            if not served:
                return
            for call in served:
                if call in self.calls:
                    self.serve(call)

    def close(self) -> None:
        """End every task, wherever it is."""
        self.closing = True
        tasks = asyncio.all_tasks(self.loop)
        for call in self.calls:
            call.answer.cancel()
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        for task in tasks:
            task.cancelled() or task.exception()
        self.loop.close()


class WaitingObjects:
    """A writer's view of the store; writer -1 is served at once."""

    def __init__(self, world: World, writer: int) -> None:
        self.world = world
        self.writer = writer

    async def call(self, method: str, *arguments: object) -> object:
        if self.world.closing:
            raise StoreUnavailable("closing")
        if self.writer < 0:
            return self.world.perform(method, *arguments)
        answer = self.world.loop.create_future()
        self.world.calls.append(Call(self.writer, method, arguments, answer))
        return await answer

    async def get(self, key: str):
        return await self.call("get", key)

    async def put(self, key: str, data: bytes):
        return await self.call("put", key, data)

    async def put_if_absent(self, key: str, data: bytes):
        return await self.call("put_if_absent", key, data)

    async def list(self, prefix: str, *, after: str = ""):
        return await self.call("list", prefix, after)

    async def delete(self, *keys: str):
        return await self.call("delete", *keys)
