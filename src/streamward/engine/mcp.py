"""Tools of MCP servers, through the official ``mcp`` package (extra ``mcp``), imported only here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from streamward.engine.schema import shape_of
from streamward.engine.tools import Tool
from streamward.errors import InvalidRequest, StreamwardError


class McpFailed(StreamwardError):
    """An MCP tool reported an error."""

    code, status, fault = "mcp_error", 502, "upstream"


class McpServer:
    """A connection to one MCP server, open inside ``async with``; ``await server.tools()`` lists its tools."""

    def __init__(
        self, target: Any, *, headers: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None, prefix: str = ""
    ) -> None:
        self.target = target
        self.headers = dict(headers or {})
        self.env = dict(env) if env is not None else None
        self.prefix = prefix
        self.stack = AsyncExitStack()
        self.client: Any = None

    async def __aenter__(self) -> McpServer:
        try:
            from mcp import Client
        except ImportError:
            raise InvalidRequest("MCP servers need the mcp package, version 2: pip install 'streamward[mcp]'") from None
        async with AsyncExitStack() as opening:
            target = self.target if isinstance(self.target, Client) else Client(await self.transport(opening))
            self.client = await opening.enter_async_context(target)
            self.stack = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()

    async def transport(self, stack: AsyncExitStack) -> Any:
        """What the client connects to: a list is a command, a URL streamable HTTP (``/sse`` at its end: the older SSE),
        anything else is the ``mcp`` package's own (a server object in this process, a transport)."""
        if isinstance(self.target, list):
            from mcp import StdioServerParameters

            return StdioServerParameters(command=self.target[0], args=self.target[1:], env=self.env)
        if isinstance(self.target, str) and self.target.rstrip("/").endswith("/sse"):
            from mcp.client.sse import sse_client

            return sse_client(self.target, headers=self.headers)
        if isinstance(self.target, str) and self.headers:
            import httpx2  # what mcp itself stands on
            from mcp.client.streamable_http import streamable_http_client

            client = await stack.enter_async_context(httpx2.AsyncClient(headers=self.headers, follow_redirects=True))
            return streamable_http_client(self.target, http_client=client)
        return self.target

    async def tools(self) -> list[Tool]:
        """The server's tools, ready for ``stream_text``; their calls go to the server."""
        found: list[Tool] = []
        cursor: str | None = None
        while True:
            page = await self.client.list_tools(cursor=cursor)
            found += [self.tool(each) for each in page.tools]
            cursor = page.next_cursor
            if not cursor:
                return found

    def tool(self, described: Any) -> Tool:
        schema = dict(described.input_schema)
        name = described.name

        async def execute(arguments: Any) -> Any:
            return output_of(await self.client.call_tool(name, arguments))

        return Tool(
            name=self.prefix + name, description=described.description or "", schema=schema, execute=execute,
            arguments=shape_of(schema).convert, spread=False, title=getattr(described, "title", None), dynamic=True,
        )  # fmt: skip


def output_of(result: Any) -> Any:
    """What a tool call gave: structured content, else its text, else its content as JSON.

    Raises:
        McpFailed: the server said that the call failed.
    """
    texts = [item.text for item in result.content if getattr(item, "type", "") == "text"]
    if result.is_error:
        raise McpFailed("\n".join(texts) or "the MCP tool failed")
    structured = getattr(result, "structured_content", None)
    if structured is not None:
        return structured
    if len(texts) == len(result.content):
        return "\n".join(texts)
    return [item.model_dump(exclude_none=True) for item in result.content]


def mcp_tools(target: Any, **options: Any) -> McpServer:
    """An MCP server as tools::

        async with mcp_tools(["uvx", "mcp-server-time"]) as server:
            result = stream_text(model, prompt=..., tools=await server.tools(), max_steps=5)
    """
    return McpServer(target, **options)
