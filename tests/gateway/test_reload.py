"""What an edit of the configuration changes while the server runs, and for whom."""

from functools import partial
from pathlib import Path

from support.gateway_server import config_text, gateway_server, until
from support.raw_http import ask, chat_request, connected, request
from support.scripted_upstream import DONE, FINISH, HELLO, LAST, ROLE, Fault, delta, http_chunk, scripted_upstream, stream

FAST = "demo/chat?tps=0&ttft_ms=0"


async def test_limits_of_an_edit_hold_for_the_next_connection(tmp_path: Path):
    path = tmp_path / "streamward.toml"
    path.write_text(config_text())
    async with gateway_server(config_text(), config_path=path) as served:
        data = request("GET", "/v1/models", None, {"x-a": "y" * 2000})
        before = await ask(served.port, data)
        path.write_text(config_text(limits="max_head_bytes = 1000\nmax_body_bytes = 10"))
        served.gateway.reload()
        head = await ask(served.port, data)
        body = await ask(served.port, chat_request(FAST))

    assert [answer.status for answer in (before, head, body)] == [200, 431, 413]


async def test_a_running_stream_keeps_the_target_it_has(tmp_path: Path):
    """The provider is renamed and moved; the stream under way ends with its own provider's tokens."""
    script = [*stream(ROLE, delta("old"), end=False), Fault.GATE, *map(http_chunk, (delta("er"), FINISH, DONE)), LAST]
    path = tmp_path / "streamward.toml"
    async with scripted_upstream(script) as old, scripted_upstream(stream(*HELLO)) as new:
        path.write_text(config_text(old.base_url))
        async with gateway_server(path.read_text(), config_path=path) as served, connected(served.port) as connection:
            await connection.send(chat_request())
            answer = await connection.head()
            answer.chunks.append(await connection.chunk())
            path.write_text(config_text(new.base_url))
            served.gateway.reload()
            moved = await ask(served.port, chat_request())
            old.gate.set()
            await connection.body(answer)

    assert (answer.text, answer.frames[-1]) == ("older", "[DONE]")
    assert moved.text == "Hello"


async def test_a_file_that_vanishes_or_breaks_changes_nothing(tmp_path: Path):
    path = tmp_path / "streamward.toml"
    path.write_text(config_text())
    async with gateway_server(config_text(), config_path=path) as served:
        edits = (b"\xff\xfe", b"[", b'[providers.x]\nbase_url = "ftp://a:sk-secret@b"', b'[providers.x]\nbase_url = "http://[::"')
        for edit in (path.unlink, *(partial(path.write_bytes, text) for text in edits)):
            edit()
            served.gateway.reload()

            assert (await ask(served.port, chat_request(FAST))).status == 200


async def test_an_edit_is_noticed_without_a_signal(tmp_path: Path):
    path = tmp_path / "streamward.toml"
    path.write_text(config_text())
    async with gateway_server(config_text(), config_path=path) as served:
        path.write_text(config_text(models__fast=f'targets = ["{FAST}"]'))
        await until(lambda: "fast" in served.gateway.config.models)

        assert (await ask(served.port, chat_request("fast"))).status == 200
