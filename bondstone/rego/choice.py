"""Which engine decides in this process: OPA where there is one, else regorus."""

from __future__ import annotations

import shutil
import threading
from typing import Final

import structlog

from bondstone.base.errors import SettingsInvalid
from bondstone.base.settings import Settings
from bondstone.rego.embedded import Embedded
from bondstone.rego.engine import Engine
from bondstone.rego.opa import NoOpa, Opa

EMBEDDED: Final = "regorus"
"""What `BOND_OPA` says to have no OPA asked even where there is one."""

_log = structlog.get_logger()
_lock = threading.Lock()
_engines: dict[tuple[str, str], Engine] = {}


def engine() -> Engine:
    """The engine of this process, chosen at the first call for the OPA that is configured or on PATH.

    Raises:
        SettingsInvalid: `BOND_OPA` names a program that is no usable OPA.
    """
    configured = Settings().opa
    on_path = "" if configured else shutil.which("opa") or ""
    with _lock:
        key = (configured, on_path)
        if key not in _engines:
            _engines[key] = _chosen(configured, on_path)
        return _engines[key]


def _chosen(configured: str, on_path: str) -> Engine:
    if configured == EMBEDDED:
        return Embedded()
    try:
        if configured or on_path:
            return Opa(configured or on_path)
    except NoOpa as error:
        if configured:
            raise SettingsInvalid(
                str(error),
                where="BOND_OPA",
                hint=f"name an OPA of 1.0 or newer, or {EMBEDDED!r} for the embedded engine",
            ) from error
        _log.warning("the OPA on PATH is not used", reason=str(error))
    return Embedded()
