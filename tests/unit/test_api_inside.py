"""A request to the API from inside its process carries the caller's credential; a refusal comes back as such."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from bondstone.api import problems
from bondstone.api.inside import InsideTransport
from bondstone.base.errors import Forbidden


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/api/v1/whoami")
    async def whoami(request: Request) -> dict[str, str]:
        return {"authorization": request.headers.get("authorization", ""), "query": str(request.query_params)}

    @app.post("/api/v1/services")
    async def refuse() -> None:
        raise Forbidden("service.request is not allowed", hint="ask an administrator")

    return app


async def test_the_credential_of_the_caller_is_sent_and_none_where_there_is_none():
    for authorization in ("Bearer bond_0123", ""):
        http = InsideTransport(application(), authorization)
        assert await http.get("/whoami", {"wait": 3}) == {"authorization": authorization, "query": "wait=3"}


async def test_a_refusal_is_raised_in_its_own_class_and_words():
    with pytest.raises(Forbidden, match="not allowed") as refused:
        await InsideTransport(application(), "Bearer x").post("/services", {})
    assert refused.value.hint == "ask an administrator"
