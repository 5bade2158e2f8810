"""Tools for agents, by the Model Context Protocol: `/mcp` in the API process, and `bond mcp`.

`tools` has what an agent may do, each one or two requests to the HTTP API in the caller's name; `server` offers
them by the protocol; `door` serves that at `/mcp`.
"""
