"""Answers whose connection, page or server goes away in the middle, in a real browser."""

import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from support.gateway_server import streamward
from support.hop import hop

pytestmark = pytest.mark.browser

MODEL = "demo/lorem?tokens=80&tps=40"


def open_page(page: Page, url: str, model: str = MODEL) -> None:
    page.goto(url)
    page.get_by_role("button", name=re.compile("^Model:")).click()
    search = page.get_by_role("combobox", name="Search models")
    search.fill(model)
    search.press("End")
    search.press("Enter")


def ask(page: Page) -> None:
    page.get_by_label("Your message").fill("Hello")
    page.keyboard.press("Enter")


def whole_answer(page: Page) -> str:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("usage")).to_contain_text("80 out")
    expect(page.get_by_test_id("ending")).to_have_count(0)
    return page.get_by_test_id("reply-text").inner_text()


@pytest.fixture(scope="module")
def expected(server_url: str, browser: Browser) -> str:
    """The answer of a stream that nothing happened to."""
    page = browser.new_page()
    open_page(page, server_url, "demo/lorem?tokens=80&tps=100000")
    ask(page)
    text = whole_answer(page)
    page.close()
    return text


def test_a_broken_connection_is_gone_on_with(page: Page, server_url: str, expected: str):
    """Nothing is lost, nothing comes twice, and the reader need not do anything."""
    with hop(urlsplit(server_url).port or 0) as middle:
        open_page(page, f"http://127.0.0.1:{middle.port}")
        ask(page)
        expect(page.get_by_test_id("reply-text")).to_contain_text(" ")

        middle.cut()

        assert whole_answer(page) == expected


def test_a_reload_in_the_middle_goes_on(page: Page, server_url: str, expected: str):
    open_page(page, server_url)
    ask(page)
    expect(page.get_by_test_id("reply-text")).to_contain_text(" ")

    page.reload()

    assert whole_answer(page) == expected
    expect(page.get_by_test_id("speed")).to_have_count(0)  # the pace of reading it again says nothing of the model


def test_stop_reaches_a_stream_that_outlives_its_readers(page: Page, server_url: str):
    """After Stop the server's own record of the stream has ended."""
    streams: list[str] = []
    page.on("response", lambda response: streams.append(response.headers.get("x-streamward-stream-id", "")))
    open_page(page, server_url, "demo/lorem?tokens=5000&tps=40")
    ask(page)
    expect(page.get_by_test_id("reply-text")).to_contain_text(" ")

    page.keyboard.press("Escape")

    expect(page.get_by_test_id("ending")).to_contain_text("Stopped by you")
    stream = next(name for name in streams if name)
    page.wait_for_function(
        """async (id) => (await (await fetch(`v1/streams/${id}?after=-1`)).text()).includes('"cancelled"')""", arg=stream
    )


def test_a_killed_server_is_named_and_retry_works_once_it_is_back(page: Page, built_page: Path, tmp_path: Path):
    with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=tmp_path) as first:
        port = str(urlsplit(first.url).port)
        open_page(page, first.url)
        ask(page)
        expect(page.get_by_test_id("reply-text")).to_contain_text(" ")

        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        expect(page.get_by_test_id("reconnecting")).to_be_visible()

    with streamward("dev", ".", "--port", port, "--log-format", "off", cwd=tmp_path):
        banner = page.get_by_role("alert")
        expect(banner).to_contain_text("The answer was interrupted", timeout=20_000)
        expect(page.get_by_test_id("reply-text")).to_be_visible()
        banner.get_by_role("button", name="Retry").click()
        whole_answer(page)
