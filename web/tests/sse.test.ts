/** The SSE reader against the rules of the HTML standard, section 9.2.6, and against every way to cut a stream. */
import { describe, expect, test } from "vitest";
import { FrameTooLarge, MAX_FRAME_BYTES, type SseFrame, SseReader } from "../src/sse";

const encoder = new TextEncoder();

function read(...reads: (string | Uint8Array)[]): SseFrame[] {
  const reader = new SseReader();
  const bytes = (part: string | Uint8Array) => (typeof part === "string" ? encoder.encode(part) : part);
  return [...reads.flatMap((part) => reader.feed(bytes(part))), ...reader.close()];
}

const events = (frames: SseFrame[]) => frames.filter((f) => f.kind === "event").map((f) => [f.event, f.data]);

describe("fields", () => {
  test.each([
    ["a space after the colon is dropped, once", "data:  x\n\n", [["message", " x"]]],
    ["no space is fine", "data:x\n\n", [["message", "x"]]],
    ["several data lines join with LF", "data: a\ndata:\ndata: b\n\n", [["message", "a\n\nb"]]],
    ["a field without a colon has an empty value", "data\n\n", [["message", ""]]],
    ["an empty data line is an event", "data:\n\n", [["message", ""]]],
    ["event sets the type, for one event", "event: ping\ndata: 1\n\ndata: 2\n\n", [["ping", "1"], ["message", "2"]]],
    ["unknown fields are passed over", "foo: bar\ndata: x\n\n", [["message", "x"]]],
    ["U+2028 and U+0085 end no line", "data: a\u2028b\u0085c\n\n", [["message", "a\u2028b\u0085c"]]],
    ["one byte order mark is dropped", "\ufeffdata: x\n\n", [["message", "x"]]],
    ["a second byte order mark is text", "\ufeff\ufeffdata: x\n\n", []],
  ])("%s", (_, stream, expected) => {
    expect(events(read(stream))).toEqual(expected);
  });

  test.each(["\n", "\r", "\r\n"])("lines end with %j", (end) => {
    const frames = read(`event: a${end}data: 1${end}data: 2${end}${end}data: 3${end}${end}`);

    expect(events(frames)).toEqual([["a", "1\n2"], ["message", "3"]]);
  });

  test("an id lasts until the next one, and one with NUL is ignored", () => {
    const frames = read("id: 7\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n");

    expect(frames.map((frame) => frame.id)).toEqual(["7", "7", "7", ""]);
  });

  test("retry takes digits only", () => {
    const frames = read("retry: 250\ndata: a\n\nretry: 2s\ndata: b\n\n");

    expect(frames.map((frame) => frame.retry)).toEqual([250, null]);
  });
});

describe("what is no event", () => {
  test("a comment shows at once, before its block ends", () => {
    const reader = new SseReader();

    const frames = reader.feed(encoder.encode("data: 1\n: keep-alive\n"));

    expect(frames.map((f) => [f.kind, f.data])).toEqual([["comment", "keep-alive"]]);
  });

  test("a comment keeps its blank line", () => {
    expect(read(": keep-alive\n\ndata: x\n\n").map((f) => [f.raw, f.size])).toEqual([
      [": keep-alive\n\n", 14],
      ["data: x\n\n", 9],
    ]);
  });

  test("a block without data is empty, not an event", () => {
    expect(read("id: 1\n\nevent: x\n\n").map((f) => f.kind)).toEqual(["empty", "empty"]);
  });

  test("a block that the end of the body cuts is incomplete", () => {
    expect(read("data: a\n\ndata: b\ndata: c").map((f) => [f.kind, f.data])).toEqual([
      ["event", "a"],
      ["incomplete", "b"],
    ]);
  });
});

describe("cuts", () => {
  const stream =
    "\ufeff: hello\n\nevent: a\r\ndata: {\"x\":\"é€😀\"}\r\n\r\nid: 9\rdata: one\rdata: two\r\rdata:three\n\n: bye\n\ndata: [DONE]\n\n";
  const bytes = encoder.encode(stream);
  const shape = (frames: SseFrame[]) => frames.map(({ kind, event, data, id }) => ({ kind, event, data, id }));
  const whole = shape(read(bytes));

  test("every cut in two gives the same frames", () => {
    for (let at = 0; at <= bytes.length; at++) {
      expect(shape(read(bytes.subarray(0, at), bytes.subarray(at))), `cut at ${at}`).toEqual(whole);
    }
  });

  test("so do single bytes", () => {
    expect(shape(read(...[...bytes].map((byte) => Uint8Array.of(byte))))).toEqual(whole);
  });

  test("the sizes of LF frames add up to the stream", () => {
    const plain = "data: é\n\n: c\n\nevent: x\ndata: 1\n\n";

    const sizes = read(plain).map((frame) => frame.size);

    expect(sizes.reduce((a, b) => a + b)).toBe(encoder.encode(plain).length);
  });
});

describe("bounds", () => {
  test("a line without end is refused before it fills the memory", () => {
    const reader = new SseReader();
    const block = new Uint8Array(1 << 20).fill(120);

    expect(() => {
      for (let sent = 0; sent <= MAX_FRAME_BYTES; sent += block.length) reader.feed(block);
    }).toThrow(FrameTooLarge);
  });

  test("a block of endless lines too", () => {
    const reader = new SseReader();
    const block = encoder.encode(`data: ${"x".repeat(1 << 20)}\n`);

    expect(() => {
      for (let sent = 0; sent <= MAX_FRAME_BYTES; sent += block.length) reader.feed(block);
    }).toThrow(FrameTooLarge);
  });
});
