/** The worker's part: one request in, frames with times out, and exactly one end. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { readStream, type WireEvent } from "../src/lib/wire";

afterEach(() => vi.unstubAllGlobals());

const SSE = { headers: { "content-type": "text/event-stream; charset=utf-8" } };

async function run(answer: Response | Error): Promise<WireEvent[]> {
  vi.stubGlobal("fetch", () => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)));
  const events: WireEvent[] = [];
  await readStream({ url: "http://x/", headers: {}, body: "{}" }, new AbortController().signal, (event) => events.push(event));
  return events;
}

function body(reads: string[], failure?: Error): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      const text = reads[at++];
      if (text !== undefined) controller.enqueue(encoder.encode(text));
      else if (failure) controller.error(failure);
      else controller.close();
    },
  });
}

describe("readStream", () => {
  test("numbers the reads and reports each one's frames together", async () => {
    const events = await run(new Response(body(["data: 1\n\ndata: 2\n\nda", "ta: 3\n\n", "data: cut"]), SSE));

    const frames = events.flatMap((event) => (event.kind === "frames" ? event.frames : []));
    expect(frames.map(({ frame, read }) => [frame.kind, frame.data, read])).toEqual([
      ["event", "1", 0],
      ["event", "2", 0],
      ["event", "3", 1],
      ["incomplete", "", 3],
    ]);
    expect(events.at(-1)).toEqual({ kind: "end" });
  });

  test("a connection that breaks says so after the frames that came", async () => {
    const events = await run(new Response(body(["data: 1\n\n"], new Error("reset")), SSE));

    expect(events.map((event) => event.kind)).toEqual(["frames", "broken"]);
  });

  test("a refusal carries the server's code, message and wait", async () => {
    const headers = { "retry-after": "7" };
    const answer = Response.json({ error: { message: "slow down", code: "rate_limit_exceeded" } }, { status: 429, headers });

    expect(await run(answer)).toEqual([
      { kind: "refused", status: 429, code: "rate_limit_exceeded", message: "slow down", retryAfter: 7 },
    ]);
  });

  test("a proxy's page still gives the status", async () => {
    const events = await run(new Response("<h1>Bad Gateway</h1>", { status: 502 }));

    expect(events).toMatchObject([{ kind: "refused", status: 502, code: "http_502" }]);
  });

  test("success that is no stream is refused", async () => {
    const events = await run(new Response("<html>", { headers: { "content-type": "text/html" } }));

    expect(events).toMatchObject([{ kind: "refused", code: "not_a_stream" }]);
  });

  test("no server at all", async () => {
    expect(await run(new TypeError("Failed to fetch"))).toMatchObject([{ kind: "refused", status: 0, code: "no_connection" }]);
  });
});
