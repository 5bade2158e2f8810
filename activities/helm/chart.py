"""The chart: from the promise, packed the same way each time, or from elsewhere, checked against its digest."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final

from bondstone.base.errors import InvalidInput, ToolFailed

MAX_CHART_BYTES: Final = 32 * 1024 * 1024
MAX_CHART_FILES: Final = 2000


def chart_path(text: str) -> PurePosixPath:
    """The path of a chart in a promise.

    Raises:
        InvalidInput: when it leads out of the promise.
    """
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in text:
        raise InvalidInput(f"the chart {text!r} is not a path inside the promise")
    return path


def from_bundle(bundle: Path, text: str) -> bytes:
    """The archive of a chart in a promise; the same files give the same bytes.

    Raises:
        ToolFailed: when there is none, or it is too large.
    """
    chart = bundle / chart_path(text)
    if chart.is_file():
        if chart.stat().st_size > MAX_CHART_BYTES:
            raise ToolFailed(f"the chart is larger than {MAX_CHART_BYTES >> 20} MiB", where=text)
        return chart.read_bytes()
    if not (chart / "Chart.yaml").is_file():
        raise ToolFailed(
            "there is no chart", where=text, hint="a chart is a folder with Chart.yaml, or an archive"
        )
    files = sorted(path for path in chart.rglob("*") if path.is_file() and not path.is_symlink())
    if len(files) > MAX_CHART_FILES or sum(path.stat().st_size for path in files) > MAX_CHART_BYTES:
        raise ToolFailed(
            f"the chart has more than {MAX_CHART_FILES} files or {MAX_CHART_BYTES >> 20} MiB", where=text
        )
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for path in files:
            info = tarfile.TarInfo(f"chart/{path.relative_to(chart).as_posix()}")
            content = path.read_bytes()
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def may_bring_kinds(archive: bytes) -> bool:
    """Whether a chart may have definitions of kinds in `crds/`, its own or of a chart inside."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return any("crds" in PurePosixPath(name).parts or name.endswith(".tgz") for name in files.getnames())


def check_digest(data: bytes, sha256: str, where: str) -> bytes:
    """The archive, if it is the one that the promise means.

    Raises:
        ToolFailed: when it is another.
    """
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise ToolFailed(
            f"the chart is not the one that the promise was written for: its sha256 is {actual}, not {sha256}",
            where=where,
            hint="somebody put another archive in its place; look at it before you pin it",
        )
    return data
