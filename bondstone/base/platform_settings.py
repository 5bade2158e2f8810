"""The settings in `platform.json`, which stay true when the data directory is copied, moved or restored.

What lies inside the data directory is written relative to it, so that a copy uses its own store and keys.
Addresses of the running platform count in the directory that the platform ran in, and nowhere else: a client of a
copy must never talk to the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

STORE: Final = "store"
PLACES: Final = (STORE, "keys", "payload_keys")
"""Settings that name a place, which may lie in the data directory: paths, and a URL for the store."""

_DEFAULTS: Final = {STORE: "objects", "keys": "keys.json"}


def portable(settings: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """The settings as they are written: places in the data directory are relative to it.

    Args:
        settings: With absolute places.
        data: The data directory.
    """
    return {name: _relative(name, value, data.resolve()) for name, value in settings.items()}


def localized(written: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """The settings of a `platform.json`, for the directory that it lies in now.

    Args:
        written: All of the file.
        data: The directory that holds the file.

    Returns:
        Absolute places; without addresses where the platform ran in another directory.
    """
    settings = written.get("settings")
    if not isinstance(settings, dict):
        return {}
    here, home = data.resolve(), home_of(written)
    places = {
        name: _absolute(name, _relative(name, settings[name], home) if home else settings[name], here)
        for name in PLACES
        if isinstance(settings.get(name), str)
    }
    return {**settings, **places} if is_home(written, data) else places


def is_home(written: Mapping[str, Any], data: Path) -> bool:
    """Whether the platform that wrote the file ran in the directory that holds it now."""
    home = home_of(written)
    return home is None or home == data.resolve()


def home_of(written: Mapping[str, Any]) -> Path | None:
    """The directory that the platform ran in; None when the file does not tell.

    A file of an older version names its store and keys only; their default places tell the directory.
    """
    if isinstance(written.get("data"), str) and written["data"]:
        return Path(written["data"])
    settings = written.get("settings")
    if not isinstance(settings, dict):
        return None
    homes = set()
    for name, default in _DEFAULTS.items():
        place = _path(name, settings[name]) if isinstance(settings.get(name), str) else None
        if place is None or not place.is_absolute() or place.name != default:
            return None
        homes.add(place.parent.resolve())
    return homes.pop() if len(homes) == 1 else None


def _relative(name: str, value: Any, data: Path) -> Any:
    path = _path(name, value) if name in PLACES and isinstance(value, str) else None
    if path is None or not path.is_absolute():
        return value
    for place in (path, path.resolve()):
        if place.is_relative_to(data):
            return place.relative_to(data).as_posix()
    return value


def _absolute(name: str, value: str, data: Path) -> str:
    if name == STORE:
        return value if "://" in value else (data / value).as_uri()
    return str(data / value)


def _path(name: str, value: str) -> Path | None:
    """The place as a path; None for a store that is no directory."""
    if name != STORE or "://" not in value:
        return Path(value)
    url = urlsplit(value)
    return Path(unquote(url.path)) if url.scheme == "file" else None
