"""All that agents speak over HTTP in one application: ``/mcp``, ``/execute``, ``/contexts`` and ``/run_code``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from codeexec_magic.agents.http import sandbox_fusion, unavailable
from codeexec_magic.agents.http.e2b import Contexts
from codeexec_magic.agents.mcp_server import make_server
from codeexec_magic.client import Client

#: names by which a machine calls itself: a page that points its own name at this machine is not answered
LOOPBACK: Final = ("localhost", "127.0.0.1")


def make_app(client: Client, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The application. It asks for no token: serve it on the loopback address only, or behind what does.

    Args:
        client: runs the code; whoever made it closes it.
        hosts: names under which it is called.
    """
    mcp = make_server(client)
    # each request stands for itself, so that any of several servers can answer it
    mcp_app = mcp.streamable_http_app(stateless_http=True)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with mcp.session_manager.run():
            yield

    async def healthy(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    routes: list[BaseRoute] = [
        *Contexts(client).routes(),
        *sandbox_fusion.routes(client),
        *unavailable.routes(),
        *mcp_app.routes,
        Route("/healthz", healthy),
        Route("/health", healthy),  # E2B's SDK asks whether its sandbox runs
    ]
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]
    return Starlette(routes=routes, middleware=guards, lifespan=lifespan)
