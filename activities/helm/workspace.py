"""Where Helm works: the scratch directories of its attempts, and the charts that were pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bondstone.activities.tooling.scratch import Scratch

DIRECTORY: Final = "helm"


class Workspace(Scratch):
    """Below the work directory: `helm/runs` for attempts, `locks` for steps, `charts` for what is pulled.

    Args:
        work: The worker's scratch directory.
    """

    def __init__(self, work: Path) -> None:
        super().__init__(work, DIRECTORY, more=("charts",))
        self._charts = work / DIRECTORY / "charts"

    def pulled(self, sha256: str) -> Path:
        """Where a chart from elsewhere is kept."""
        return self._charts / f"{sha256}.tgz"
