"""Labels by which a team lets services use its own: shared with other teams, or given to one parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SHARE_LABEL: Final = "share-with"
"""Names of teams, parted by spaces, or `*`: their services may be bound to this one."""
GIVE_LABEL: Final = "give-to"
"""`TEAM/NAME` of services, parted by spaces: one of them may take this one as its part, as if it had made it."""


def shares_with(labels: Mapping[str, str], team: str) -> bool:
    """Whether services of a team may be bound to a service of another team.

    Args:
        labels: Of the service that would be bound to.
        team: Whose services.
    """
    return bool({team, "*"} & set(labels.get(SHARE_LABEL, "").split()))


def is_given(labels: Mapping[str, str], parent: str) -> bool:
    """Whether a service that exists may become a part that its parent owns.

    Args:
        labels: Of the service that exists.
        parent: `TEAM/NAME` of the parent.
    """
    return parent in labels.get(GIVE_LABEL, "").split()
