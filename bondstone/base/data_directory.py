"""Where the data of an embedded platform is. Imports almost nothing: commands ask it before anything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PLATFORM_FILE: Final = "platform.json"
"""What `bond up` tells its clients, in the data directory."""
LOCAL_TOKEN_FILE: Final = "api-token"  # noqa: S105 - the name of it
"""The token of whoever may read the data directory."""


def default_data_dir() -> Path:
    """Where the embedded platform lives when nobody says otherwise."""
    if named := os.environ.get("BOND_DATA"):
        return Path(named)
    import platformdirs  # noqa: PLC0415 - only where nobody says otherwise

    return platformdirs.user_data_path("bondstone", appauthor=False)
