"""Encryption of what Temporal keeps: arguments, results, heartbeats, failures, queries and updates.

With a payload key ring, everything leaves a process sealed; the active key seals, every key of the ring opens.
A sealed payload is bound to its workflow: the workflow's id is authenticated with it, so that a copy in another
workflow's signal, update or input does not open. Search attributes and workflow ids are never sealed: Temporal has
to read them.

What arrives in plain passes (histories from before, and what the `temporal` command sends), unless
`payloads_require_sealed` says that it must not.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Self

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError
from typing_extensions import override

from bondstone.base.errors import BY_CODE, BondError, KeyMissing, ObjectCorrupt, SettingsInvalid
from bondstone.base.settings import Settings
from bondstone.store.crypto import KeyRing

ENCODING: Final = b"binary/bondstone-sealed"
"""What the metadata of a sealed payload calls it."""

REFUSED: Final = b"refused/not-sealed-for-this-workflow"
"""The encoding of what stands in a refused payload's place. No converter knows it: a signal or update with such an
argument is dropped or rejected, where an error while opening would stop the whole workflow."""

BOUND: Final = "bondstone-workflow"
"""Metadata: the id of the workflow that a payload was sealed for; checked, as it is part of what is sealed."""

_WORDED: Final = frozenset(BY_CODE) - {"INTERNAL"}
"""Types of the failures that carry an `ErrorInfo`. What is a mistake of ours keeps its stack."""
_ASSOCIATED: Final = "temporal payload"
"""What a payload is sealed as: an object of the store put in its place does not open."""

_SCHEDULED: Final = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
"""What Temporal adds to the workflow id of a schedule's action, for each run."""


class SealedPayloads(PayloadCodec, WithSerializationContext):
    """Seals and opens payloads.

    Args:
        keys: With none, nothing is sealed, and what is sealed cannot be read.
        require: Whether what is plain, or bound to no workflow, is refused.
        workflow: The id of the workflow that payloads are of; empty where nobody knows it, as in the codec server,
            which opens what was sealed for any.
    """

    def __init__(self, keys: KeyRing | None, *, require: bool = False, workflow: str = "") -> None:
        self._keys = keys
        self._require = require
        self._workflow = workflow

    @override
    def with_context(self, context: SerializationContext) -> SealedPayloads:
        """The same, for the payloads of one workflow and its activities."""
        if (
            self._keys is not None  # else there is nothing to bind
            and isinstance(context, WorkflowSerializationContext | ActivitySerializationContext)
            and context.workflow_id
        ):
            return SealedPayloads(self._keys, require=self._require, workflow=context.workflow_id)
        return self

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal them, all metadata of theirs included."""
        keys = self._keys
        if keys is None:
            return list(payloads)
        metadata = {"encoding": ENCODING}
        if self._workflow:
            metadata[BOUND] = self._workflow.encode()
        return [
            Payload(
                metadata=metadata, data=keys.seal(payload.SerializeToString(), key=_associated(self._workflow))
            )
            for payload in payloads
        ]

    @override
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what is sealed.

        Raises:
            KeyMissing: it was sealed with a key that is not here.
            ObjectCorrupt: it was changed, and nobody knows for which workflow it is opened.
        """
        return [self._opened(payload) for payload in payloads]

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return _refused("it is not sealed") if self._require else payload
        if self._keys is None:
            raise KeyMissing(
                "Temporal's payloads are encrypted, and this process has no keys for them",
                where="payload",
                hint="name the platform's payload key ring with BOND_PAYLOAD_KEYS",
            )
        bound = payload.metadata.get(BOUND, b"").decode("utf-8", "replace")
        if self._workflow and not self._is_ours(bound):
            return _refused(f"it was sealed for {bound or 'any workflow'}")
        try:
            return Payload.FromString(self._keys.unseal(payload.data, key=_associated(bound)))
        except ObjectCorrupt:
            if not self._workflow:
                raise
            return _refused("it was changed")

    def _is_ours(self, bound: str) -> bool:
        if not bound:
            return not self._require  # sealed where no workflow was known
        return bound in {self._workflow, _SCHEDULED.sub("", self._workflow)}


def _associated(workflow: str) -> str:
    return f"{_ASSOCIATED} of {workflow}" if workflow else _ASSOCIATED


def _refused(why: str) -> Payload:
    return Payload(metadata={"encoding": REFUSED}, data=why.encode())


class _InWords(DefaultFailureConverter):
    """Failures that say in words what went wrong have no stack: people who open one in the UI read it first."""

    @override
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        if isinstance(exception, ApplicationError) and exception.type in _WORDED:
            exception.__traceback__ = None
            if isinstance(exception.__cause__, BondError):  # it says the same
                exception.__cause__ = None
        super().to_failure(exception, payload_converter, failure)


class FailuresInWords(_InWords):
    """As it stands."""


class EncodedFailuresInWords(_InWords, DefaultFailureConverterWithEncodedAttributes):
    """With message and stack as a payload, which is encrypted."""


_PYDANTIC: Final = PydanticPayloadConverter().converters


class SharedPydantic(CompositePayloadConverter):
    """The SDK's converters for pydantic, one set for the whole process.

    The SDK makes a converter for each run of a workflow and several for each of its tasks. With a set of its own
    in each, pydantic would compile the same types again each time.
    """

    def __init__(self) -> None:
        self.converters = _PYDANTIC


class PlatformConverter(DataConverter):
    """A `DataConverter` of which only the codec knows the context: another one for each payload is cheap."""

    @override
    def with_context(self, context: SerializationContext) -> Self:
        """The same with the codec for this context. The SDK's own way makes every converter anew."""
        codec = self.payload_codec
        if not isinstance(codec, WithSerializationContext):
            return self
        bound = codec.with_context(context)
        if bound is codec:
            return self
        cloned = copy.copy(self)
        object.__setattr__(cloned, "payload_codec", bound)  # it is frozen; the SDK does it this way too
        return cloned


DATA_CONVERTER: Final = PlatformConverter(payload_converter_class=SharedPydantic)
"""Without keys and without words of ours for failures."""


def data_converter(settings: Settings) -> DataConverter:
    """What clients, workers and replayers of a platform convert with.

    Raises:
        SettingsInvalid: the payload key ring cannot be read, or sealed payloads are required and there is none.
    """
    if settings.payloads_require_sealed and not settings.payload_keys:
        raise SettingsInvalid(
            "sealed payloads are required, and there is no payload key ring",
            where="payloads_require_sealed",
            hint="name the ring with BOND_PAYLOAD_KEYS; `bond setup` makes it",
        )
    keys = KeyRing.load(settings.payload_keys) if settings.payload_keys else None
    # Messages and stack traces of failures may quote what they are about.
    failures = FailuresInWords if keys is None else EncodedFailuresInWords
    codec = SealedPayloads(keys, require=settings.payloads_require_sealed)
    return replace(DATA_CONVERTER, payload_codec=codec, failure_converter_class=failures)
