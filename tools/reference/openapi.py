"""The OpenAPI description of the HTTP API."""

from __future__ import annotations

import json

from bondstone.api.app import create_app
from bondstone.base.settings import Settings

PAGE = "docs/reference/openapi.json"


def text() -> str:
    """The description, as `GET /api/v1/openapi.json` answers it."""
    app = create_app(Settings.model_construct(), None, ())
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False)
