"""Deterministic code only: what Temporal replays."""

from __future__ import annotations

from workflows.decommission import Decommission
from workflows.provision import Provision
from workflows.service import Service

ALL: list[type] = [Service, Provision, Decommission]
"""Every workflow type that a control worker serves."""
