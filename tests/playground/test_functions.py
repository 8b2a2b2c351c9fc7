"""The functions view in a real browser, against `streamward dev` on a folder of functions."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.gateway_server import streamward

pytestmark = pytest.mark.browser

FUNCTIONS = {
    "hello.py": """
        import asyncio
        import sys
        from pathlib import Path

        GO = Path(__file__).parents[1] / "go"

        async def GET():
            print("sending Hello")
            yield "Hello"
            while not GO.exists():
                await asyncio.sleep(0.01)
            GO.unlink()
            yield ", world"
            print("done", file=sys.stderr)
        """,
    "items/[id].py": """
        async def GET(request, params):
            return {"id": params["id"]}

        async def PUT(request, params):
            team = request.headers.get("x-team")
            return {"id": params["id"], "q": request.query_params.get("q"), "body": await request.json(), "team": team}
        """,
    "broken.py": """
        def GET():
            yield "before the fall"
            raise RuntimeError("the bottom fell out")
        """,
    "gated.py": """
        import asyncio
        from pathlib import Path

        GO = Path(__file__).parents[1] / "go"

        async def GET():
            yield "before the fall"
            while not GO.exists():
                await asyncio.sleep(0.01)
            GO.unlink()
            raise RuntimeError("the bottom fell out")
        """,
    "late.py": """
        import asyncio

        max_duration = 1

        async def GET():
            yield "tick"
            await asyncio.sleep(30)
        """,
    "endless.py": """
        import asyncio

        async def GET():
            try:
                while True:
                    yield "."
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                print("the client has left")
                raise
        """,
    "flood.py": """
        async def GET():
            for number in range(30000):
                yield f"line {number}: all the water of all the rivers\\n"
        """,
    "markup.py": """
        from starlette.responses import HTMLResponse

        def GET():
            return HTMLResponse("<img src=x onerror=\\"document.title='owned'\\"><b>raw</b>")
        """,
    "fails.py": """
        def POST():
            raise ValueError("cannot do that")
        """,
    "wrong.py": "def GET(:\n",
}


def write_functions(folder: Path, functions: Mapping[str, str]) -> None:
    for name, source in functions.items():
        file = folder / "api" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    write_functions(folder, FUNCTIONS)
    return folder


@pytest.fixture(scope="module")
def functions_url(built_page: Path, project: Path) -> Iterator[str]:
    with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=project) as process:
        yield f"{process.url}/#functions"


def choose(page: Page, url: str, path: str) -> None:
    page.goto(url)
    page.get_by_role("navigation", name="Functions").get_by_role("button", name=path).click()
    expect(page.get_by_role("heading", name=path, exact=True)).to_be_visible()


def call(page: Page) -> None:
    page.get_by_role("button", name="Call", exact=True).click()


def ended(page: Page, title: str) -> None:
    expect(page.get_by_test_id("call-ending")).to_have_text(title, timeout=20_000)


def test_the_list_names_functions_and_what_is_wrong_with_others(page: Page, functions_url: str):
    page.goto(functions_url)

    listed = page.get_by_role("navigation", name="Functions").get_by_role("listitem").get_by_role("button")
    expect(listed).to_have_count(len(FUNCTIONS) - 1)
    expect(listed.filter(has_text="/api/items/[id]")).to_contain_text("GET PUT")
    expect(page.get_by_test_id("problems")).to_contain_text("api/wrong.py:1")
    expect(page.get_by_test_id("problems")).to_contain_text("SYNTAX_ERROR")


def test_an_answer_shows_as_it_arrives_with_its_log_beside_it(page: Page, functions_url: str, project: Path):
    """The first word and the first log entry are on the page while the function waits for our word to go on."""
    choose(page, functions_url, "/api/hello")

    call(page)

    body, log = page.get_by_test_id("call-body"), page.get_by_test_id("call-log")
    expect(body).to_have_text("Hello")
    expect(log).to_contain_text("sending Hello")
    expect(page.get_by_test_id("call-ending")).to_have_text("Streaming…")
    (project / "go").touch()
    ended(page, "Complete")
    expect(body).to_have_text("Hello, world")
    expect(log).to_contain_text("done")
    expect(log.get_by_role("listitem").last).to_contain_text("GET /api/hello 200 ok")
    expect(page.get_by_test_id("call-status")).to_have_text("200 OK")
    expect(page.get_by_test_id("call-bytes")).to_have_text("12 B")
    expect(page.get_by_test_id("call-reads")).to_have_text("2")
    assert re.fullmatch(r"[\d.]+ ms", page.get_by_test_id("ttfb").inner_text())
    page.get_by_role("radio", name="Headers").check(force=True)
    expect(page.get_by_test_id("call-headers")).to_contain_text(page.get_by_test_id("request-id").inner_text())
    page.get_by_role("radio", name="As it came").check(force=True)
    expect(page.get_by_test_id("call-read-list")).to_contain_text("world")


def test_method_path_query_headers_and_body_go_out_as_typed(page: Page, functions_url: str):
    """By keyboard alone, sent with Ctrl+Enter from the body field."""
    choose(page, functions_url, "/api/items/[id]")
    expect(page.get_by_test_id("call-url")).to_contain_text("Fill in")
    expect(page.get_by_role("button", name="Call", exact=True)).to_be_disabled()
    page.get_by_label("Method").select_option("PUT")
    page.get_by_label("id", exact=True).fill("a/b ü")
    page.get_by_role("button", name="Add query parameter").press("Enter")
    page.keyboard.type("q")
    page.keyboard.press("Tab")
    page.keyboard.type("x&y")
    page.get_by_role("button", name="Add header").press("Enter")
    page.keyboard.type("x-team")
    page.keyboard.press("Tab")
    page.keyboard.type("blue")
    page.get_by_label("Body").first.fill('{"deep": [1, {"b": true}]}')

    page.keyboard.press("Control+Enter")

    ended(page, "Complete")
    body = page.get_by_test_id("call-body")
    for part in ('"id": "a/b ü"', '"q": "x&y"', '"team": "blue"', '"b": true'):
        expect(body).to_contain_text(part)
    page.get_by_label("Body").first.fill("{")
    expect(page.get_by_text("Not valid JSON")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "title", "code"),
    [
        ("/api/broken", "Cut off: the function failed", "FUNCTION_INVOCATION_FAILED"),
        ("/api/late", "Cut off at the deadline", "FUNCTION_INVOCATION_TIMEOUT"),
        ("/api/fails", "The function failed before its first byte", "FUNCTION_INVOCATION_FAILED"),
    ],
)
def test_endings_that_are_none_say_why(page: Page, functions_url: str, path: str, title: str, code: str):
    choose(page, functions_url, path)

    call(page)

    ended(page, title)
    expect(page.locator(".standing-line code")).to_have_text(code)


def test_a_cut_answer_keeps_what_came_and_the_log_has_the_cause(page: Page, functions_url: str, project: Path):
    choose(page, functions_url, "/api/gated")
    call(page)
    expect(page.get_by_test_id("call-body")).to_have_text("before the fall")

    (project / "go").touch()

    ended(page, "Cut off: the function failed")
    expect(page.get_by_test_id("call-body")).to_have_text("before the fall")
    expect(page.get_by_test_id("call-log")).to_contain_text("RuntimeError: the bottom fell out")


def test_stop_closes_the_connection_and_the_function_hears_of_it(page: Page, functions_url: str):
    choose(page, functions_url, "/api/endless")
    call(page)
    expect(page.get_by_test_id("call-body")).to_contain_text("...")

    page.keyboard.press("Escape")

    ended(page, "Stopped by you")
    expect(page.get_by_test_id("call-log")).to_contain_text("the client has left")
    expect(page.get_by_role("button", name="Call", exact=True)).to_be_enabled()


def test_a_flood_stays_light(page: Page, functions_url: str):
    """1.3 MB in 30,000 lines: all of it there, and the page still answers."""
    choose(page, functions_url, "/api/flood")

    call(page)

    ended(page, "Complete")
    expect(page.get_by_test_id("call-body")).to_contain_text("line 29999:")
    assert page.evaluate("document.querySelector('[data-testid=call-body]').textContent.split('\\n').length") == 30001
    assert page.evaluate("document.querySelectorAll('*').length") < 2000


def test_what_a_function_answers_is_text_not_elements(page: Page, functions_url: str):
    choose(page, functions_url, "/api/markup")

    call(page)

    ended(page, "Complete")
    body = page.get_by_test_id("call-body")
    expect(body).to_contain_text("<b>raw</b>")
    expect(body.locator("img, b")).to_have_count(0)
    assert page.title() != "owned"


def test_the_views_keep_what_was_typed_and_the_address_keeps_the_view(page: Page, functions_url: str):
    choose(page, functions_url, "/api/items/[id]")
    page.get_by_label("id", exact=True).fill("42")

    page.keyboard.press("Escape")
    page.get_by_role("button", name="Chat", exact=True).click()
    expect(page.get_by_label("Your message")).to_be_visible()
    page.get_by_label("Your message").fill("half a question")
    page.go_back()

    expect(page.get_by_label("id", exact=True)).to_have_value("42")
    page.keyboard.press("Alt+1")
    expect(page.get_by_label("Your message")).to_have_value("half a question")
    page.keyboard.press("Alt+2")
    page.reload()
    expect(page.get_by_role("heading", name="/api/items/[id]", exact=True)).to_be_visible()


def test_a_folder_without_functions_shows_how_to_write_one(page: Page, server_url: str):
    page.goto(f"{server_url}/#functions")

    expect(page.get_by_role("heading", name="No functions yet")).to_be_visible()
    expect(page.get_by_label("A first function")).to_contain_text("async def GET(request)")


def test_a_function_that_is_written_meanwhile_appears_by_itself(page: Page, built_page: Path, tmp_path: Path):
    with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=tmp_path) as process:
        page.goto(f"{process.url}/#functions")
        expect(page.get_by_role("heading", name="No functions yet")).to_be_visible()

        write_functions(tmp_path, {"new.py": "def GET():\n    return 'here'\n"})

        expect(page.get_by_role("heading", name="/api/new", exact=True)).to_be_visible(timeout=20_000)
        call(page)
        expect(page.get_by_test_id("call-body")).to_have_text("here")


def test_a_guarded_server_asks_for_its_token_and_the_address_never_holds_it(page: Page, built_page: Path, tmp_path: Path):
    """The token goes to the control endpoints in a header, to functions not at all."""
    write_functions(tmp_path, {"echo.py": "def GET(request):\n    print('called')\n    return dict(request.headers)\n"})
    environ = {"STREAMWARD_ADMIN_TOKEN": "let-me-see"}
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=tmp_path, environ=environ) as process:
        page.goto(f"{process.url}/#functions")
        page.get_by_label("Admin token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("did not take that token")).to_be_visible()

        page.get_by_label("Admin token").fill("let-me-see")
        page.keyboard.press("Enter")
        call(page)

        expect(page.get_by_test_id("call-log")).to_contain_text("called")
        ended(page, "Complete")
        expect(page.get_by_test_id("call-body")).not_to_contain_text("let-me-see")
        assert not any("let-me-see" in url for url in urls)
        assert "let-me-see" not in page.url
        assert "let-me-see" not in page.evaluate("JSON.stringify(localStorage)")


def test_a_phone_has_no_sideways_scroll(browser: Browser, functions_url: str):
    context = browser.new_context(viewport={"width": 360, "height": 720}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(functions_url)
    page.get_by_label("Function", exact=True).select_option("api/broken.py")
    call(page)
    ended(page, "Cut off: the function failed")

    overflow = page.evaluate("""Math.max(document.documentElement.scrollWidth - innerWidth,
        ...[...document.querySelectorAll('.functions, .header, .call, .logs')].map((e) => e.scrollWidth - e.clientWidth))""")

    context.close()
    assert overflow <= 0


def test_a_call_is_two_keys_from_anywhere_on_the_page(page: Page, functions_url: str):
    page.goto(functions_url)
    page.keyboard.press("Alt+2")
    page.get_by_role("button", name="/api/markup").click()

    page.keyboard.press("Control+Enter")

    ended(page, "Complete")


def test_everything_is_reached_by_keyboard(page: Page, functions_url: str):
    """Each control has a name, and Tab visits the list, the form and the answer."""
    choose(page, functions_url, "/api/markup")
    call(page)
    ended(page, "Complete")
    page.get_by_role("button", name="Reload the list").focus()

    names = []
    for _ in range(24):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("""() => { const e = document.activeElement;
            return e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.textContent; }""")
        )

    for wanted in ("/api/broken", "Method", "Call", "Add header", "Body", "Log entries"):
        assert any(name.startswith(wanted) for name in names), (wanted, names)
    assert all(names)
