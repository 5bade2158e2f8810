"""The record of refused access, of an API process: what counts as refused of a request."""

from __future__ import annotations

import re

from starlette.requests import Request

from bondstone.api.request_names import method_of, route_of
from bondstone.base.errors import BondError
from bondstone.base.names import SERVICE_PATTERN
from bondstone.model.identity import Principal
from bondstone.store.refusal_record import ACCESS, OTHERS, RefusalRecord


class RequestRefusals(RefusalRecord):
    """What an API process refuses, and where it is kept."""

    def note(self, request: Request, error: BondError) -> None:
        """Count a refused request; an error that does not refuse access is not counted.

        Args:
            request: As it arrived; `request.state.principal` is the caller, where it is known.
            error: Why it was refused.
        """
        if not isinstance(error, ACCESS):
            return
        principal: Principal | None = getattr(request.state, "principal", None)
        team, name = (str(request.path_params.get(part, "")) for part in ("team", "name"))
        service = f"{team}/{name}" if principal and re.fullmatch(SERVICE_PATTERN, f"{team}/{name}") else ""
        method = method_of(request.scope) or OTHERS
        self.count(principal, f"{method} {route_of(request.scope)}".strip(), error, service)
