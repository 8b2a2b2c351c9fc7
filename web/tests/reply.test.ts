/** Replies from chunks, and above all: how each kind of ending is named. */
import { describe, expect, test } from "vitest";
import { adviceFor } from "../src/lib/advice";
import { metricsOf } from "../src/lib/metrics";
import { type Reply, ReplyBuilder } from "../src/lib/reply";

const chunk = (delta: object, finish: string | null = null, more: object = {}) =>
  JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "m-1", choices: [{ index: 0, delta, finish_reason: finish }], ...more });

function build(...data: string[]): Reply {
  const builder = new ReplyBuilder(0);
  data.forEach((item, index) => builder.feed(item, 100 + index * 10));
  return builder.close();
}

const OPEN = chunk({ role: "assistant", content: "" });

describe("content", () => {
  test("text, reasoning under both names, refusal and model", () => {
    const reply = build(
      OPEN,
      chunk({ reasoning_content: "let " }),
      chunk({ reasoning: "me" }),
      chunk({ content: "Hel" }),
      chunk({ content: "lo", refusal: "no" }),
      chunk({}, "stop"),
      "[DONE]",
    );

    expect(reply).toMatchObject({ reasoning: "let me", text: "Hello", refusal: "no", model: "m-1" });
  });

  test("tool calls grow by index; a repeated or empty id changes nothing", () => {
    const call = (index: number, part: object) => chunk({ tool_calls: [{ index, ...part }] });
    const reply = build(
      call(0, { id: "a", type: "function", function: { name: "weather", arguments: "" } }),
      call(0, { id: "", function: { arguments: '{"city":' } }),
      call(1, { id: "b", function: { name: "time", arguments: { zone: "UTC" } } }),
      call(0, { id: "a", function: { arguments: '"Bern"}' } }),
      chunk({}, "tool_calls"),
      "[DONE]",
    );

    expect(reply.tools).toEqual([
      { index: 0, id: "a", name: "weather", arguments: '{"city":"Bern"}' },
      { index: 1, id: "b", name: "time", arguments: '{"zone":"UTC"}' },
    ]);
  });

  test("usage comes in its own chunk or on the finish chunk", () => {
    const usage = { prompt_tokens: 3, completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 2 } };
    const expected = { prompt: 3, completion: 5, total: 8, reasoning: 2, cached: 0 };

    const apart = build(OPEN, chunk({}, "stop"), JSON.stringify({ choices: [], usage }), "[DONE]");
    const together = build(OPEN, chunk({}, "stop", { usage }), "[DONE]");

    expect([apart.usage, together.usage]).toEqual([expected, expected]);
  });

  test("chunks of other choices, without choices, and empty data are passed over", () => {
    const other = JSON.stringify({ choices: [{ index: 1, delta: { content: "other" }, finish_reason: null }] });

    const reply = build(other, "{}", '{"choices":[]}', "", chunk({ content: "mine" }, "stop"), "[DONE]");

    expect([reply.text, reply.ending]).toEqual(["mine", { kind: "finished", reason: "stop" }]);
  });

  test("a reply read earlier does not change later", () => {
    const builder = new ReplyBuilder(0);
    builder.feed(chunk({ content: "a", tool_calls: [{ index: 0, id: "x", function: { name: "f", arguments: "1" } }] }), 1);
    const early = builder.reply;

    builder.feed(chunk({ content: "b", tool_calls: [{ index: 0, function: { arguments: "2" } }] }), 2);

    expect([early.text, early.tools[0]?.arguments, early.timing.lastTokenAt]).toEqual(["a", "1", 1]);
  });
});

describe("endings", () => {
  const text = chunk({ content: "x" });
  const error = (code: string) => JSON.stringify({ error: { message: "boom", type: "server_error", code } });

  test.each([
    ["finish reason and [DONE]", [text, chunk({}, "stop"), "[DONE]"], "finished", "stop"],
    ["cut at the token limit", [text, chunk({}, "length"), "[DONE]"], "finished", "length"],
    ["nothing after some text", [text], "interrupted", "stream_truncated"],
    ["nothing at all", [], "interrupted", "stream_truncated"],
    ["[DONE] without a finish reason", [text, "[DONE]"], "interrupted", "missing_finish_reason"],
    ["a finish reason without [DONE]", [text, chunk({}, "stop")], "interrupted", "missing_done"],
    ["an error frame", [text, error("upstream_reset")], "interrupted", "upstream_reset"],
    ["an error frame, then [DONE]", [text, error("upstream_error"), "[DONE]"], "interrupted", "upstream_error"],
    ["an error without a code", [text, '{"error":{"message":"boom","type":"overloaded"}}'], "interrupted", "overloaded"],
    ["an error as an object of its own", [text, '{"object":"error","message":"boom","code":40303}'], "interrupted", "40303"],
    ["an error inside a chunk", [chunk({ content: "" }, "error", { error: { code: 502, message: "boom" } })], "interrupted", "502"],
    ["finish reason error", [text, chunk({}, "error"), "[DONE]"], "interrupted", "error"],
    ["a frame that is not JSON", [text, "<html>"], "interrupted", "invalid_chunk"],
    ["a frame that is no object", [text, "42"], "interrupted", "invalid_chunk"],
    ["text after [DONE] is ignored", [text, chunk({}, "stop"), "[DONE]", error("late")], "finished", "stop"],
  ])("%s", (_, data, kind, detail) => {
    const { ending } = build(...data);

    expect(ending?.kind).toBe(kind);
    expect(ending).toHaveProperty(kind === "finished" ? "reason" : "code", detail);
  });

  test("every truncation of a good stream is an interruption that keeps the text so far", () => {
    const stream = [OPEN, chunk({ content: "a" }), chunk({ content: "b" }), chunk({}, "stop"), "[DONE]"];
    for (let length = 0; length < stream.length; length++) {
      const reply = build(...stream.slice(0, length));

      expect(reply.ending?.kind, `${length} frames`).toBe("interrupted");
      expect("ab".startsWith(reply.text)).toBe(true);
    }
  });

  test("an error the server named wins over the broken connection after it", () => {
    const builder = new ReplyBuilder(0);
    builder.feed(error("upstream_timeout"), 1);

    const reply = builder.end({ kind: "interrupted", code: "connection_lost", message: "" });

    expect(reply.ending).toMatchObject({ code: "upstream_timeout", message: "boom" });
  });
});

describe("advice", () => {
  test("a plain stop needs no words; a length does", () => {
    expect(adviceFor({ kind: "finished", reason: "stop" })).toBeNull();
    expect(adviceFor({ kind: "finished", reason: "length" })).toMatchObject({ tone: "warning", code: "length" });
  });

  test("a refusal names status, code and how long to wait", () => {
    const advice = adviceFor({ kind: "refused", status: 429, code: "rate_limit_exceeded", message: "slow", retryAfter: 7 });

    expect(advice?.title).toContain("429");
    expect(advice?.hint).toContain("7 s");
  });
});

describe("figures", () => {
  const timing = { startedAt: 1000, firstTokenAt: 1200, lastTokenAt: 2200, contentChunks: 11, replayed: false };
  const base = { ...build(OPEN), timing };

  test("from usage: the first token starts the clock", () => {
    const reply = { ...base, usage: { prompt: 1, completion: 51, total: 52, reasoning: 0, cached: 0 } };

    expect(metricsOf(reply)).toEqual({ ttftMs: 200, tokensPerSecond: 50, estimated: false });
  });

  test("without usage chunks are counted, and said to be an estimate", () => {
    expect(metricsOf({ ...base, usage: null })).toEqual({ ttftMs: 200, tokensPerSecond: 10, estimated: true });
  });

  test("a stream that was read again tells its reader's pace, so no figure is given", () => {
    expect(metricsOf({ ...base, timing: { ...timing, replayed: true } })).toMatchObject({ ttftMs: null, tokensPerSecond: null });
  });

  test("one burst has no speed", () => {
    expect(metricsOf({ ...base, timing: { ...timing, lastTokenAt: 1200 } }).tokensPerSecond).toBeNull();
  });
});
