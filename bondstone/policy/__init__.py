"""Policies: Rego, evaluated by the conventions of conftest, closed when in doubt."""

from __future__ import annotations

from bondstone.policy.decide import document, evaluate
from bondstone.policy.modules import (
    Module,
    Origin,
    PolicyRule,
    check_syntax,
    load_modules,
    modules_digest,
    require_valid,
)

__all__ = [
    "Module",
    "Origin",
    "PolicyRule",
    "check_syntax",
    "document",
    "evaluate",
    "load_modules",
    "modules_digest",
    "require_valid",
]
