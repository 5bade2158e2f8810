"""Answers to changes by their request ids: a change that is sent again is answered, and not carried out again.

Objects, sealed since an answer may show a new token: `kept-answers/<hash>/answer`, and the claim
`kept-answers/<hash>/<0001>` while a process carries the request out. A process renews its claim. When it dies,
another that is sent the same request sees by its own clock that nobody renews the claim, takes the next number,
and carries the request out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

import structlog

from bondstone.base.errors import KeyInUse, KeyReused, ObjectMissing, StoreError
from bondstone.base.models import Wire
from bondstone.store.sealed import SealedObjects

_FAMILY: Final = "kept-answers"
_ANSWER: Final = "answer"
KEPT: Final = timedelta(hours=24)
"""A request that is sent again later is carried out again."""
CLAIM_SECONDS: Final = 10.0
"""A claim that nobody renews for so long was left by a process that died."""
PATIENCE_SECONDS: Final = 30.0
"""How long the same request waits for its first answer."""
LOOK_SECONDS: Final = 0.2
MAX_BODY_BYTES: Final = 4 * 1024 * 1024

log = structlog.get_logger(__name__)


class KeptAnswer(Wire):
    """How a change was answered."""

    request: str
    """The digest of the request: its address and body"""
    status: int
    headers: dict[str, str]
    body: str
    """In base64"""

    @property
    def content(self) -> bytes:
        """The body as it was sent."""
        return base64.b64decode(self.body)


class _Claim(Wire):
    request: str
    owner: str


class ChangeAttempt:
    """One try at carrying a change out.

    Args:
        earlier: How it was answered before: then it must not be carried out.
    """

    def __init__(self, earlier: KeptAnswer | None = None) -> None:
        self.earlier = earlier
        self._answer: tuple[int, dict[str, str], bytes] | None = None

    def answered(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep this answer; without one the request may be carried out again."""
        self._answer = (status, headers, body)

    def kept(self, request: str) -> KeptAnswer | None:
        """What is to be kept; None where there is nothing, or too much of it."""
        if self._answer is None or len(self._answer[2]) > MAX_BODY_BYTES:
            return None
        status, headers, body = self._answer
        return KeptAnswer(request=request, status=status, headers=headers, body=base64.b64encode(body).decode())


class KeptAnswers:
    """The answers of one platform.

    Args:
        sealed: Where they are kept.
        claim_seconds: After which a claim that nobody renews is void.
        patience_seconds: How long a request waits for the answer of the same one before it.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        sealed: SealedObjects,
        *,
        claim_seconds: float = CLAIM_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sealed = sealed
        self._claim_seconds = claim_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock

    @asynccontextmanager
    async def attempt(self, caller: str, key: str, request: str) -> AsyncIterator[ChangeAttempt]:
        """Carry a change out, of any number of processes in one; or get its answer.

        Args:
            caller: Whose request id it is; another caller's is another.
            key: The request id.
            request: The digest of the request.

        Raises:
            KeyReused: the id was used for another request.
            KeyInUse: another process still carries the request out.
        """
        folder = f"{_FAMILY}/{hashlib.sha256(chr(0).join((caller, key)).encode()).hexdigest()}"
        claim = await self._claim(folder, key, request)
        if isinstance(claim, KeptAnswer):
            yield ChangeAttempt(claim)
            return
        attempt = ChangeAttempt()
        renewing = asyncio.create_task(self._renew(claim, request))
        try:
            yield attempt
            if (answer := attempt.kept(request)) is not None:
                await self._keep(f"{folder}/{_ANSWER}", answer)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(StoreError):
                await self._sealed.objects.delete(claim)

    async def sweep(self, *, now: datetime) -> int:
        """Remove what is older than `KEPT`; how many objects. Any process may do it at any time."""
        objects = self._sealed.objects
        old = [info.key for info in await objects.list(_FAMILY) if now - info.modified > KEPT]
        await objects.delete(*old)
        return len(old)

    async def _claim(self, folder: str, key: str, request: str) -> str | KeptAnswer:
        """The claim that was taken, or the answer that there is."""
        began = since = self._clock()
        watched: tuple[str, datetime] | None = None
        while True:
            if (answer := await self._answer(folder, key, request)) is not None:
                return answer
            claims = [info for info in await self._sealed.objects.list(folder) if not info.key.endswith(_ANSWER)]
            number, now = 1, self._clock()
            if claims:
                last = claims[-1]
                number = int(last.key.rpartition("/")[2]) + 1
                with suppress(ObjectMissing):
                    _same(_Claim.model_validate_json(await self._sealed.get(last.key)).request, key, request)
                if (last.key, last.modified) != watched:
                    watched, since = (last.key, last.modified), now
            if not claims or now - since > self._claim_seconds:
                if (mine := await self._take(folder, number, request)) is None:
                    continue
                if (answer := await self._answer(folder, key, request)) is None:
                    return mine
                await self._sealed.objects.delete(mine)
                return answer
            if now - began > self._patience_seconds:
                raise KeyInUse(
                    f"the request {key!r} is still being carried out", hint="send it again under the same key"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _keep(self, path: str, answer: KeptAnswer) -> None:
        try:
            await self._sealed.put(path, answer.model_dump_json().encode())
        except StoreError as error:  # the change was carried out, and the caller must hear so
            log.warning("cannot keep the answer to a request", error=error.message)

    async def _answer(self, folder: str, key: str, request: str) -> KeptAnswer | None:
        try:
            answer = KeptAnswer.model_validate_json(await self._sealed.get(f"{folder}/{_ANSWER}"))
        except ObjectMissing:
            return None
        _same(answer.request, key, request)
        return answer

    async def _take(self, folder: str, number: int, request: str) -> str | None:
        """The claim of this number; None when another process has it."""
        claim = f"{folder}/{number:04}"
        content = _Claim(request=request, owner=secrets.token_hex(8))
        if await self._sealed.put_if_absent(claim, content.model_dump_json().encode()):
            return claim
        with suppress(ObjectMissing):  # the store may have taken it although its answer was lost
            if _Claim.model_validate_json(await self._sealed.get(claim)) == content:
                return claim
        return None

    async def _renew(self, claim: str, request: str) -> None:
        content = _Claim(request=request, owner="").model_dump_json().encode()
        while True:
            await asyncio.sleep(self._claim_seconds / 4)
            try:
                await self._sealed.put(claim, content)
            except StoreError as error:
                log.warning("cannot renew the claim on a request", error=error.message)


def _same(earlier: str, key: str, request: str) -> None:
    if earlier != request:
        raise KeyReused(
            f"the key {key!r} was used for another request before",
            where="Idempotency-Key",
            hint="send another key with another request",
        )
