"""The page in a real browser: streaming, endings, inspector, keys, keyboard, themes.

Against `streamward dev` and its demo models, whose options make every kind of answer and failure.
"""

import re

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from support.raw_http import KEY as LOCKED_KEY

pytestmark = pytest.mark.browser


def choose(page: Page, model: str) -> None:
    """Picks *model* by keyboard; ids with options are typed."""
    page.get_by_role("button", name=re.compile("^Model:")).click()
    search = page.get_by_role("combobox", name="Search models")
    search.fill(model)
    search.press("End")
    search.press("Enter")
    expect(page.get_by_role("button", name=f"Model: {model}", exact=True)).to_be_visible()


def ask(page: Page, text: str = "Hello") -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def open_page(page: Page, url: str, model: str) -> None:
    page.goto(url)
    choose(page, model)


def finished(page: Page) -> None:
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible(timeout=20_000)


def sent_messages(page: Page) -> list[list[dict[str, str]]]:
    """The messages of each request sent from now on."""
    sent: list[list[dict[str, str]]] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            sent.append(request.post_data_json["messages"])

    page.on("request", note)
    return sent


# Collects the length of the answer at every change of the document, so that no poll can miss one.
WATCH_GROWTH = """() => {
  window.lengths = [];
  new MutationObserver(() => {
    const text = document.querySelector('[data-testid=reply-text]')?.innerText ?? '';
    if (text.length !== window.lengths.at(-1)) window.lengths.push(text.length);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def test_tokens_show_one_by_one(page: Page, server_url: str):
    """Thirty paced tokens make many growing texts, not one."""
    open_page(page, server_url, "demo/lorem?tokens=30&tps=40")
    page.evaluate(WATCH_GROWTH)

    ask(page)
    finished(page)

    lengths = page.evaluate("window.lengths.filter((n) => n > 0)")
    assert lengths == sorted(lengths)
    assert len(lengths) >= 10


def test_figures_follow_the_answer(page: Page, server_url: str):
    """Time to first token, speed and the server's own token counts."""
    open_page(page, server_url, "demo/lorem?tokens=30&tps=60&ttft_ms=200")

    ask(page)
    finished(page)

    ttft = page.get_by_test_id("ttft").inner_text()
    assert 150 <= float(ttft.removesuffix(" ms")) < 1000
    expect(page.get_by_test_id("usage")).to_contain_text("30 out")
    expect(page.get_by_test_id("speed")).to_contain_text(re.compile(r"^\d+ tok/s"))


def test_stop_ends_the_answer_and_keeps_the_text(page: Page, server_url: str):
    """Also by Escape, and the chat goes on afterwards."""
    open_page(page, server_url, "demo/lorem?tokens=2000&tps=40")
    ask(page)
    expect(page.get_by_test_id("reply-text")).to_be_visible()

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_test_id("ending")).to_contain_text("Stopped by you")
    title = page.get_by_test_id("ending").locator(".banner-title")
    assert title.evaluate("e => getComputedStyle(e).color === getComputedStyle(document.body).color")  # no error of theirs
    assert len(page.get_by_test_id("reply-text").inner_text()) > 0
    ask(page, "And again")
    expect(page.get_by_test_id("reply-text")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("ending")).to_have_count(2)


@pytest.mark.parametrize(
    ("fail_with", "code"),
    [("truncate", "stream_truncated|upstream_"), ("error", "upstream_error"), ("reset", "connection_lost|upstream_reset")],
)
def test_an_interrupted_answer_says_so(page: Page, server_url: str, fail_with: str, code: str):
    """The text stays, the code shows, and Retry asks again."""
    open_page(page, server_url, f"demo/lorem?tokens=20&fail_after=6&fail_with={fail_with}")

    ask(page)

    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("The answer was interrupted")
    expect(banner.locator("code")).to_have_text(re.compile(code))
    kept = page.get_by_test_id("reply-text").inner_text()
    assert kept
    choose(page, "demo/lorem?tokens=20")
    banner.get_by_role("button", name="Retry").click()
    finished(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    whole = page.get_by_test_id("reply-text").inner_text()
    assert whole.startswith(kept)
    assert len(whole) > len(kept)


def test_an_answer_cut_by_length_is_no_error_but_says_so(page: Page, server_url: str):
    open_page(page, server_url, "demo/lorem?tokens=5&finish=length")

    ask(page)

    expect(page.get_by_test_id("ending")).to_contain_text("Cut off at the token limit")


def test_an_unknown_model_shows_the_servers_words(page: Page, server_url: str):
    open_page(page, server_url, "demo/nonesuch")

    ask(page)

    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("HTTP 404")
    expect(banner.locator("code")).to_have_text("model_not_found")
    expect(banner).to_contain_text("Pick another model")


def test_a_conversation_carries_its_history_and_can_be_edited(page: Page, server_url: str):
    """Turns add up; editing the last message asks again; a new chat is empty; a reload keeps the chat."""
    open_page(page, server_url, "demo/echo")
    ask(page, "first")
    finished(page)
    requests = sent_messages(page)
    ask(page, "second")
    finished(page)
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("changed")
    page.keyboard.press("Enter")
    finished(page)

    expect(page.get_by_test_id("reply-text").last).to_contain_text("changed")
    assert [[m["role"] for m in messages] for messages in requests] == [["user", "assistant", "user"]] * 2
    assert requests[1][-1]["content"] == "changed"
    page.reload()
    expect(page.get_by_test_id("reply-text")).to_have_count(2)
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", name="What shall we stream?")).to_be_visible()


def test_markdown_renders_and_html_does_not(page: Page, server_url: str):
    """What a model writes cannot become elements of its choice."""
    open_page(page, server_url, "demo/echo")

    ask(page, "**bold** <img src=x onerror=alert(1)> <b>raw</b>")
    finished(page)

    reply = page.get_by_test_id("reply-text")
    expect(reply.locator("strong")).to_have_text("bold")
    expect(reply.locator("img, b")).to_have_count(0)
    expect(reply).to_contain_text("<b>raw</b>")


def test_links_of_a_model_run_no_script_and_load_nothing(page: Page, server_url: str):
    """A link of a script leads nowhere, an image is a link, and blocks of HTML are text."""
    open_page(page, server_url, "demo/echo?tps=10000")

    ask(
        page,
        "[a](javascript:alert(1)) ![b](http://images.example/x.png)\n\n<iframe src=x></iframe>\n\n[c](https://docs.example/)",
    )
    finished(page)

    reply = page.get_by_test_id("reply-text")
    links = [link.get_attribute("href") for link in reply.get_by_text(re.compile("^[abc]$")).all()]
    assert links == ["", "http://images.example/x.png", "https://docs.example/"]
    expect(reply.locator("iframe, img, script")).to_have_count(0)
    expect(reply).to_contain_text("<iframe src=x></iframe>")


def test_each_paragraph_runs_in_its_own_direction(page: Page, server_url: str):
    open_page(page, server_url, "demo/echo?tps=10000")

    ask(page, "שלום עולם, with English.\n\n- ראשון\n\nEnglish, עם עברית.")
    finished(page)

    reply = page.get_by_test_id("reply-text")
    directions = reply.locator("p, ul").evaluate_all("(all) => all.map((one) => getComputedStyle(one).direction)")
    assert directions == ["rtl", "rtl", "ltr"]


def test_a_fast_answer_is_followed_to_its_end_unless_the_reader_scrolls_up(page: Page, server_url: str):
    """Text that outruns the browser's scroll events is no reader who left."""
    open_page(page, server_url, "demo/lorem?tokens=8000&tps=4000")
    ask(page)
    finished(page)

    scroller = page.locator(".scroller")
    left = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight"
    assert scroller.evaluate(left) < 80
    page.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()  # the first answer is gone: its height is no sign
    page.wait_for_function("() => document.querySelector('.scroller').scrollHeight > 3000")
    page.locator(".scroller").hover()
    newest = page.get_by_role("button", name="Go to the newest text")
    for _ in range(50):  # as a reader does: one turn of the wheel may fall together with a line being followed
        page.mouse.wheel(0, -300)
        if newest.is_visible():
            break
    expect(newest).to_be_visible()
    seen = scroller.evaluate("(box) => box.scrollTop")
    finished(page)
    assert abs(scroller.evaluate("(box) => box.scrollTop") - seen) < 300  # the buttons above that come back move it a little
    assert scroller.evaluate(left) > 300


def test_reasoning_folds_away_when_the_answer_begins(page: Page, server_url: str):
    open_page(page, server_url, "demo/reasoning")

    ask(page)
    finished(page)

    reasoning = page.locator(".reasoning-text")
    expect(reasoning).to_be_hidden()
    page.get_by_text("Reasoning", exact=True).click()
    expect(reasoning).to_be_visible()
    assert len(reasoning.inner_text()) > 10


def test_tool_calls_stream_in_and_take_a_result(page: Page, server_url: str):
    """Name and arguments show; the user's result goes back to the model as a tool message."""
    open_page(page, server_url, "demo/tools")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("switch", name="Offer tools to the model").check()
    page.keyboard.press("Escape")
    ask(page, "What is the weather?")
    finished(page)
    call = page.get_by_test_id("tool-call")
    expect(call).to_contain_text("get_weather")
    expect(call.locator("pre")).to_contain_text("{")
    requests = sent_messages(page)

    page.get_by_label("Result of get_weather").fill("12 degrees")
    page.get_by_role("button", name="Send result to the model").click()
    finished(page)

    assert [message["role"] for message in requests[0]] == ["user", "assistant", "tool"]
    assert requests[0][-1]["content"] == "12 degrees"


def test_the_inspector_lists_every_frame(page: Page, server_url: str):
    """Role, ten tokens, finish, usage, [DONE]: with times, filter, and the JSON of one."""
    open_page(page, server_url, "demo/lorem?tokens=10&tps=100")
    page.keyboard.press("Alt+i")
    ask(page)
    finished(page)
    frames = page.get_by_role("listbox", name="Frames")
    page.get_by_role("radio", name="Data").check(force=True)

    expect(frames.get_by_role("option")).to_have_count(14)
    expect(frames.get_by_role("option").last).to_contain_text("[DONE]")
    page.get_by_label("Filter frames by text").fill('"usage"')
    expect(frames.get_by_role("option").last).to_contain_text("usage")
    frames.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("frame-detail")).to_contain_text('"completion_tokens": 10')
    page.get_by_role("button", name="Raw").click()
    expect(page.get_by_test_id("frame-detail")).to_contain_text("data: {")


def test_five_thousand_frames_stay_light(page: Page, server_url: str):
    """The list holds only the rows in view, first and last are a key away, and scrolling is quick."""
    open_page(page, server_url, "demo/lorem?tokens=5000&tps=1000000")
    page.keyboard.press("Alt+i")
    ask(page)
    finished(page)
    expect(page.get_by_test_id("frame-count")).to_have_text(re.compile(r"^5,0\d\d$"))
    frames = page.get_by_role("listbox", name="Frames")
    rows = frames.get_by_role("option")
    expect(rows.last).to_contain_text("[DONE]")

    assert rows.count() < 80
    frames.focus()
    page.keyboard.press("Home")
    expect(rows.first).to_have_attribute("aria-posinset", "1")
    median = page.evaluate("""async () => {
      const list = document.querySelector('[role=listbox][aria-label=Frames]');
      const times = [];
      for (let step = 1; step <= 20; step++) {
        const before = performance.now();
        list.scrollTop = (list.scrollHeight * step) / 20;
        await new Promise(requestAnimationFrame);
        await new Promise((r) => setTimeout(r));
        times.push(performance.now() - before);
      }
      return times.sort((a, b) => a - b)[10];
    }""")
    assert median < 200  # milliseconds per step; a list of 5,000 rows takes seconds on a slow machine


def test_a_key_is_asked_for_and_kept_in_the_tab(page: Page, locked_url: str):
    """401 opens the key dialog; the key works at once, survives a reload and is not in localStorage."""
    page.goto(locked_url)
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog.get_by_label("API key")).to_be_focused()

    dialog.get_by_label("API key").fill(LOCKED_KEY)
    page.keyboard.press("Enter")

    choose(page, "demo/lorem?tokens=3")
    ask(page)
    finished(page)
    expect(page.get_by_test_id("reply-text")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name=re.compile("^Model: demo.lorem"))).to_be_visible()
    assert LOCKED_KEY not in page.evaluate("JSON.stringify(localStorage)")


def test_a_wrong_key_says_so(page: Page, locked_url: str):
    page.goto(locked_url)
    page.get_by_label("API key").fill("wrong")

    page.keyboard.press("Enter")

    expect(page.get_by_test_id("models-failed")).to_contain_text("invalid_api_key")
    expect(page.get_by_test_id("models-failed").get_by_role("button", name="Enter key")).to_be_visible()


def test_simulated_and_toy_models_are_named_as_such(page: Page, server_url: str):
    open_page(page, server_url, "demo/chat")

    expect(page.get_by_role("note")).to_contain_text("simulated model")
    page.evaluate("""localStorage.setItem('streamward.settings', '{"model":"local/tiny"}')""")
    choose(page, "local/tiny")
    expect(page.get_by_role("note")).to_contain_text("trained only on this project")


def test_screen_readers_hear_sentences_not_tokens(page: Page, server_url: str):
    """What the live region said, in order, is whole sentences and the end."""
    open_page(page, server_url, "demo/echo?tps=40")
    page.evaluate("""() => {
      window.heard = [];
      new MutationObserver((changes) => {
        for (const change of changes) for (const node of change.addedNodes) window.heard.push(node.textContent);
      }).observe(document.querySelector('[data-testid=announcer]'), { childList: true });
    }""")

    ask(page, "One two three. Four five six! Seven")
    finished(page)

    page.wait_for_function("window.heard.at(-1) === 'Answer complete.'")
    heard = page.evaluate("window.heard")
    assert "Four five six!" in heard
    assert len(heard) <= 5


def test_code_shows_the_request_that_was_sent(page: Page, server_url: str):
    open_page(page, server_url, "demo/echo")
    ask(page, "copy me")
    finished(page)

    page.keyboard.press("Alt+c")

    code = page.get_by_test_id("snippet")
    expect(code).to_contain_text(f"curl -N {server_url}/v1/chat/completions")
    expect(code).to_contain_text("copy me")
    page.get_by_role("radio", name="Python").check(force=True)
    expect(code).to_contain_text("from openai import OpenAI")
    page.get_by_role("radio", name="JavaScript").check(force=True)
    expect(code).to_contain_text('import OpenAI from "openai"')


def test_what_goes_along_with_a_message_is_said_beside_it(page: Page, server_url: str):
    """A system prompt outlives a reload: who forgot it is reminded, and one click away from it."""
    open_page(page, server_url, "demo/echo?tps=0")
    expect(page.get_by_role("button", name="Sent along")).to_have_count(0)
    page.keyboard.press("Alt+s")
    page.get_by_label("System prompt").fill("Be brief.")
    page.keyboard.press("Escape")
    page.reload()

    page.get_by_role("button", name="Sent along: a system prompt").click()

    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")


@pytest.mark.parametrize("width", [740, 1024, 1160, 1280])
def test_a_long_model_id_and_the_actions_share_one_line(page: Page, server_url: str, width: int):
    page.set_viewport_size({"width": width, "height": 800})
    open_page(page, server_url, "demo/fail?fail_with=truncate&fail_after=5&tps=0&ttft_ms=1")

    heights = [page.get_by_role("button", name=name).bounding_box() for name in ("New chat", "Request as code")]

    assert [box["height"] for box in heights if box] == [36, 36]
    assert page.evaluate("document.querySelector('.header').scrollWidth <= innerWidth")
    wraps = page.locator(".header .icon-button span").evaluate_all("all => all.some(e => e.getClientRects().length > 1)")
    assert not wraps
    shown = page.locator(".picker-value").bounding_box()
    assert shown is not None
    assert shown["width"] >= 120


def luminance(page: Page) -> float:
    red, green, blue = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    return (int(red) + int(green) + int(blue)) / 765


def test_dark_follows_the_system_and_the_choice(page: Page, server_url: str):
    """Auto follows the system; a choice wins over it and is kept."""
    page.goto(server_url)
    assert luminance(page) > 0.9
    page.emulate_media(color_scheme="dark")
    assert luminance(page) < 0.2

    page.get_by_role("button", name=re.compile("^Theme: auto")).click()

    assert luminance(page) > 0.9
    page.reload()
    assert luminance(page) > 0.9


def test_a_phone_has_no_sideways_scroll(browser: Browser, server_url: str):
    context = browser.new_context(viewport={"width": 360, "height": 720}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_page(page, server_url, "demo/lorem?tokens=20&fail_after=9&fail_with=truncate")
    ask(page)
    finished(page)

    overflow = page.evaluate("""Math.max(document.documentElement.scrollWidth - innerWidth,
        ...[...document.querySelectorAll('.scroller, .header')].map((box) => box.scrollWidth - box.clientWidth))""")

    context.close()
    assert overflow <= 0


def test_everything_is_reached_by_keyboard(page: Page, server_url: str):
    """From the top of the page, Tab alone visits each control, and each has a name."""
    page.goto(server_url)
    expect(page.get_by_role("button", name=re.compile("^Model:"))).to_be_visible()
    page.locator("a[href='#composer']").focus()

    names = []
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"))

    for wanted in ("Model: ", "Request as code", "Frame inspector", "Theme: auto", "Settings", "Your message"):
        assert any(name.startswith(wanted) for name in names), (wanted, names)
    assert all(names)


def test_the_fallback_page_chats_too(page: Page, unbuilt_url: str):
    """Without a build the one-file page streams, tells the ending, and says how to get the full page."""
    page.goto(unbuilt_url)
    expect(page.get_by_text("scripts/build_web.sh")).to_be_visible()
    model = page.get_by_label("Model")
    model.select_option("demo/echo")

    ask(page, "hello there")

    expect(page.locator(".reply")).to_contain_text("hello there")
    expect(page.locator(".figures")).to_contain_text("first token")
    expect(page.get_by_role("note")).to_contain_text("simulated")
    model.select_option("demo/fail")
    ask(page, "now fail")
    expect(page.get_by_role("alert")).to_contain_text("upstream_error")
