/** The inspector's data: the log and its bound, filters, figures, the line that describes a frame. */
import { describe, expect, test } from "vitest";
import { arrivals, describeFrame, filterFrames, FrameLog, gapFigures, isErrorFrame, MAX_FRAMES } from "../src/lib/frames";
import type { SseFrame } from "../src/sse";

const frame = (data: string, kind: SseFrame["kind"] = "event"): SseFrame => ({
  kind,
  event: kind === "comment" ? "" : "message",
  data,
  id: "",
  retry: null,
  raw: kind === "comment" ? `: ${data}\n\n` : `data: ${data}\n\n`,
  size: data.length + 8,
});

function logged(...items: [SseFrame, number, number][]): FrameLog {
  const log = new FrameLog((run) => run());
  for (const item of items) log.push(...item);
  return log;
}

describe("FrameLog", () => {
  test("keeps times, gaps and where each read begins", () => {
    const log = logged([frame("a"), 10, 0], [frame("b"), 10, 0], [frame("c"), 25, 1]);

    expect(log.frames.map((f) => [f.number, f.atMs, f.gapMs, f.firstOfRead])).toEqual([
      [1, 10, 10, true],
      [2, 10, 0, false],
      [3, 25, 15, true],
    ]);
    expect(log.totals).toMatchObject({ frames: 3, reads: 2, bytes: 27 });
  });

  test("tells listeners once per paint, however many frames came", () => {
    const paints: (() => void)[] = [];
    const log = new FrameLog((run) => paints.push(run));
    let told = 0;
    log.subscribe(() => told++);

    for (let n = 0; n < 100; n++) log.push(frame("x"), n, n);
    for (const paint of paints) paint();

    expect([paints.length, told]).toEqual([1, 1]);
  });

  test("is bounded, and says how many it let go", () => {
    const log = new FrameLog(() => undefined);

    for (let n = 0; n <= MAX_FRAMES; n++) log.push(frame("x"), n, n);

    expect(log.frames.length + log.totals.dropped).toBe(MAX_FRAMES + 1);
    expect(log.frames.length).toBeLessThanOrEqual(MAX_FRAMES);
    expect(log.frames.at(-1)?.number).toBe(MAX_FRAMES + 1);
  });

  test("starts over when cleared", () => {
    const log = logged([frame("a"), 10, 0]);

    log.clear();
    log.push(frame("b"), 5, 0);

    expect(log.frames.map((f) => [f.number, f.gapMs, f.firstOfRead])).toEqual([[1, 5, true]]);
  });
});

describe("filters and figures", () => {
  const { frames } = logged(
    [frame("keep-alive", "comment"), 0, 0],
    [frame('{"a":1}'), 10, 1],
    [frame('{"error":{"message":"boom"}}'), 20, 2],
    [frame("", "incomplete"), 100, 3],
  );
  const numbers = (...args: [Parameters<typeof filterFrames>[1], string]) => filterFrames(frames, ...args).map((f) => f.number);

  test("by kind and by text", () => {
    expect(numbers("all", "")).toEqual([1, 2, 3, 4]);
    expect(numbers("data", "")).toEqual([2, 3]);
    expect(numbers("comments", "")).toEqual([1]);
    expect(numbers("errors", "")).toEqual([3, 4]);
    expect(numbers("all", "BOOM")).toEqual([3]);
  });

  test("a text that speaks of an error is none", () => {
    expect(isErrorFrame(frame('{"content":"the word error: yes"}'))).toBe(false);
    expect(isErrorFrame(frame('{"error":null}'))).toBe(false);
  });

  test("arrivals count into equal slices of time", () => {
    expect(arrivals(frames, 4)).toEqual([3, 0, 0, 1]);
    expect(arrivals([], 3)).toEqual([0, 0, 0]);
  });

  test("gaps: median and the worst", () => {
    expect(gapFigures(frames)).toEqual({ p50: 10, p99: 80 });
    expect(gapFigures(frames.slice(0, 2))).toBeNull();
  });

  test.each([
    ['{"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}', '{"content":"hi"}'],
    ['{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', 'finish_reason "stop"'],
    ['{"choices":[],"usage":{"prompt_tokens":1}}', 'usage {"prompt_tokens":1}'],
    ['{"error":{"code":"x"}}', 'error {"code":"x"}'],
    ["[DONE]", "[DONE]"],
    ["[]", "[]"],
  ])("%s reads %s", (data, text) => {
    expect(describeFrame(frame(data))).toBe(text);
  });
});
