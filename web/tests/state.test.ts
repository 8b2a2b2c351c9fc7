/** The conversation: what each action does to it, and what is sent for it. */
import { describe, expect, test } from "vitest";
import { emptyReply, type Reply } from "../src/lib/reply";
import { type ChatState, chatRequest, DEFAULT_SETTINGS, EMPTY_CHAT, parseTools, reduce, type Turn } from "../src/lib/state";

const settings = { ...DEFAULT_SETTINGS, model: "demo/chat" };
const done = (text: string, more: Partial<Reply> = {}): Reply => ({
  ...emptyReply(0),
  text,
  ending: { kind: "finished", reason: "stop" },
  ...more,
});

function talk(...pairs: [string, Reply][]): ChatState {
  return pairs.reduce((state, [text, reply], index) => {
    const replyId = `r${index}`;
    const sent = reduce(state, { type: "send", userId: `u${index}`, replyId, text, model: "demo/chat", at: 0 });
    return reduce(sent, { type: "end", replyId, reply });
  }, EMPTY_CHAT);
}

const said = (state: ChatState) => state.turns.map((turn) => (turn.role === "user" ? turn.text : turn.reply.text));
const begin = { model: "m", at: 5, replyId: "new" };

describe("reduce", () => {
  test("sending adds both turns and runs", () => {
    const state = reduce(EMPTY_CHAT, { type: "send", userId: "u", text: "hi", ...begin });

    expect(state.turns.map((turn) => [turn.id, turn.role])).toEqual([["u", "user"], ["new", "assistant"]]);
    expect(state.running).toBe("new");
  });

  test("progress shows while running; late progress does not", () => {
    const running = reduce(EMPTY_CHAT, { type: "send", userId: "u", text: "hi", ...begin });
    const grown = reduce(running, { type: "progress", replyId: "new", reply: { ...emptyReply(0), text: "He" } });
    const ended = reduce(grown, { type: "end", replyId: "new", reply: done("Hello") });
    const late = reduce(ended, { type: "progress", replyId: "new", reply: { ...emptyReply(0), text: "He" } });

    expect([said(grown)[1], said(late)[1], ended.running]).toEqual(["He", "Hello", null]);
  });

  test("an end that comes after a new chat changes nothing", () => {
    const cleared = reduce(talk(["a", done("b")]), { type: "clear" });

    expect(reduce(cleared, { type: "end", replyId: "r0", reply: done("late") })).toEqual(EMPTY_CHAT);
  });

  test("retry drops the reply and what came after, not the question", () => {
    const state = reduce(talk(["a", done("1")], ["b", done("2")]), { type: "retry", turnId: "r0", ...begin });

    expect(said(state)).toEqual(["a", ""]);
  });

  test("edit changes the question and asks again", () => {
    const state = reduce(talk(["a", done("1")], ["b", done("2")]), { type: "edit", turnId: "u1", text: "B", ...begin });

    expect(said(state)).toEqual(["a", "1", "B", ""]);
    expect(state.turns[2]?.id).toBe("u1");
  });

  test("an unknown turn is no reason to change", () => {
    const state = talk(["a", done("1")]);

    expect(reduce(state, { type: "retry", turnId: "u0", ...begin })).toBe(state);
    expect(reduce(state, { type: "edit", turnId: "nope", text: "x", ...begin })).toBe(state);
  });
});

describe("chatRequest", () => {
  const messages = (turns: Turn[]) => chatRequest(turns, settings).messages;

  test("asks for a stream with usage, and leaves out what is not set", () => {
    expect(chatRequest(talk(["hi", done("yo")]).turns, settings)).toEqual({
      model: "demo/chat",
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: "yo" },
      ],
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test("settings become fields", () => {
    const full = { ...settings, system: "Be brief.", temperature: 0, maxTokens: 9, toolsOn: true };

    const request = chatRequest([], full);

    expect(request.messages).toEqual([{ role: "system", content: "Be brief." }]);
    expect([request.temperature, request.max_tokens, request.tools?.length]).toEqual([0, 9, 1]);
  });

  test("an interrupted reply is sent as far as it came; an empty one is not", () => {
    const broken = done("half", { ending: { kind: "interrupted", code: "x", message: "" } });
    const refused = done("", { ending: { kind: "refused", status: 500, code: "x", message: "", retryAfter: null } });

    expect(messages(talk(["a", broken], ["b", refused]).turns).map((m) => m.content)).toEqual(["a", "half", "b"]);
  });

  test("every tool call gets an answer, given or not", () => {
    const call = (index: number, id: string) => ({ index, id, name: "f", arguments: "{}" });
    const asked = talk(["a", done("", { tools: [call(0, "x"), call(1, "")] })]);
    const state = reduce(asked, { type: "tool_results", turnId: "r0", results: { 0: "sunny" }, ...begin });

    expect(messages(state.turns).slice(1)).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "x", type: "function", function: { name: "f", arguments: "{}" } },
          { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } },
        ],
      },
      { role: "tool", tool_call_id: "x", content: "sunny" },
      { role: "tool", tool_call_id: "call_1", content: "(no result given)" },
    ]);
  });

  test("a tool call that was cut off is not sent back: its arguments are no JSON", () => {
    const tools = [{ index: 0, id: "x", name: "f", arguments: '{"a' }];
    const cut = done("", { tools, ending: { kind: "stopped" } });

    expect(messages(talk(["a", cut]).turns)).toEqual([{ role: "user", content: "a" }]);
  });
});

test("tools that are no tools are named", () => {
  expect(parseTools("[")).toMatchObject({ ok: false });
  expect(parseTools("{}")).toEqual({ ok: false, message: "Expected a JSON array of tools." });
  expect(parseTools('[{"type":"function"}]')).toMatchObject({ ok: false, message: expect.stringContaining("Tool 1") });
  expect(parseTools(" ")).toEqual({ ok: true, tools: [] });
});
