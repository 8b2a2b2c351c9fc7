"""Tools of a real MCP server, in this process and behind stdio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer

from streamward import mcp_tools, stream_text
from streamward import sync as streamward_sync
from streamward.events import ToolError, ToolResult
from streamward.testing import ScriptedModel, tool_call

SERVER = '''
from mcp.server import MCPServer
server = MCPServer("adder")
@server.tool()
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b
server.run("stdio")
'''


def adder() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("adder")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    def fail() -> str:
        raise ValueError("inside the server")

    return server


async def test_the_servers_tools_are_called():
    model = ScriptedModel([tool_call("mcp_add", {"a": 1, "b": 2})], "3")
    async with mcp_tools(adder(), prefix="mcp_") as server:
        tools = await server.tools()
        events = await stream_text(model, prompt="x", tools=tools, max_steps=2).full_stream

    assert [tool.name for tool in tools] == ["mcp_add", "mcp_fail"]
    assert tools[0].description == "Adds."
    assert model.calls[0].tools[0].schema["required"] == ["a", "b"]  # type: ignore[index]
    assert [event.output for event in events if isinstance(event, ToolResult)] == [{"result": 3}]


async def test_a_failure_in_the_server_is_a_tool_error():
    model = ScriptedModel([tool_call("fail")], "sorry")
    async with mcp_tools(adder()) as server:
        events = await stream_text(model, prompt="x", tools=await server.tools(), max_steps=2).full_stream

    assert [event.error for event in events if isinstance(event, ToolError)] == ["Error executing tool fail"]


def test_a_command_is_started_and_ended_in_a_plain_with(tmp_path: Path):
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    model = ScriptedModel([tool_call("add", {"a": 20, "b": 22})], "42")

    with streamward_sync.mcp_tools([sys.executable, str(script)]) as server:
        generated = streamward_sync.generate_text(model, prompt="x", tools=server.tools(), max_steps=2)

    assert generated.steps[0].tool_results[0].output == {"result": 42}  # type: ignore[union-attr]
