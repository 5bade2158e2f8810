"""Previews of campaigns with their plans, by digest."""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

from bondstone.base.canonical import digest
from bondstone.base.errors import InvalidInput, NotFound, ObjectCorrupt, ObjectMissing, Refused
from bondstone.model.campaign.manifest import Campaign
from bondstone.model.campaign.preview import PinnedPreview
from bondstone.store.sealed import SealedObjects

SHORTEST: Final = 8
"""Characters of a digest that are enough to name it."""

_PREFIX: Final = "campaign-previews"
_DIGEST: Final = re.compile(r"[0-9a-f]{8,64}")


class Previews:
    """Objects under `campaign-previews/<digest>`, sealed, never changed.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed

    async def put(self, preview: PinnedPreview) -> str:
        """Keep a preview; its digest."""
        await self._sealed.put_if_absent(f"{_PREFIX}/{preview.digest}", preview.data())
        return preview.digest

    async def get(self, name: str) -> PinnedPreview:
        """A preview by its digest.

        Raises:
            NotFound: there is none.
            ObjectCorrupt: it is not what its digest says.
        """
        try:
            data = await self._sealed.get(f"{_PREFIX}/{name}")
            preview = PinnedPreview.model_validate_json(data)
        except ObjectMissing as error:
            raise _none(name) from error
        except ValidationError as error:
            raise ObjectCorrupt("a preview is not readable", where=f"{_PREFIX}/{name}") from error
        if digest(data) != name:
            raise ObjectCorrupt("a preview is not what its digest says", where=f"{_PREFIX}/{name}")
        return preview

    async def find(self, text: str) -> PinnedPreview:
        """A preview by its digest, or the beginning of it.

        Raises:
            InvalidInput: that is no digest, or the beginning of several.
            NotFound: there is none.
        """
        text = text.strip().lower().removeprefix("sha256:")
        if not _DIGEST.fullmatch(text):
            raise InvalidInput(
                f"{text[:80]!r} is not the digest of a preview",
                hint=f"`bond campaign preview --plan` prints it; its first {SHORTEST} characters are enough",
            )
        names = [info.key.rpartition("/")[2] for info in await self._sealed.objects.list(_PREFIX)]
        fits = [name for name in names if name.startswith(text)]
        if not fits:
            raise _none(text)
        if len(fits) > 1:
            raise InvalidInput(f"{len(fits)} previews begin with {text}", hint="give more of the digest")
        return await self.get(fits[0])


def check_pinned(preview: PinnedPreview, campaign: Campaign) -> None:
    """Refuse a preview of something else than what a campaign does; to which services is of no account.

    Raises:
        Refused: saying what differs.
    """
    spec = campaign.spec
    for what, actual, wanted in (
        ("operation", preview.operation, spec.operation),
        ("promise", preview.promise, spec.promise or ""),
        ("inputs", preview.inputs, spec.inputs),
    ):
        if actual != wanted:
            raise Refused(
                f"the preview is of other {what}: {actual} and not {wanted}"
                if what == "inputs"
                else f"the preview is of another {what}: {actual or 'none'} and not {wanted or 'none'}",
                where=f"campaign {campaign.metadata.name}",
                hint="make one of this campaign: `bond campaign preview --plan`",
            )


def _none(name: str) -> NotFound:
    return NotFound(f"there is no preview {name[:12]}", hint="`bond campaign preview -f FILE --plan` makes one")
