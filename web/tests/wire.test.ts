/** The worker's part: one request in, frames with times out, and exactly one end. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { readStream, type WireEvent } from "../src/lib/wire";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const SSE = { headers: { "content-type": "text/event-stream; charset=utf-8" } };

const REQUEST = { url: "http://x/", headers: {}, body: "{}", streams: "http://x/v1/streams/", resume: null };

async function run(answer: Response | Error): Promise<WireEvent[]> {
  vi.stubGlobal("fetch", () => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)));
  const events: WireEvent[] = [];
  await readStream(REQUEST, new AbortController().signal, (event) => events.push(event));
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

describe("durable streams", () => {
  const DURABLE = { headers: { ...SSE.headers, "x-streamward-stream-id": "st_1" } };

  /** Answers in turn, and notes what was asked of whom. */
  function server(...answers: (Response | Error)[]): string[] {
    const asked: string[] = [];
    vi.useFakeTimers();
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      asked.push(`${init.method ?? "GET"} ${url}`);
      const answer = answers.shift() ?? new Error("nobody there");
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    });
    return asked;
  }

  async function follow(resume: string | null = null, signal = new AbortController().signal): Promise<WireEvent[]> {
    const events: WireEvent[] = [];
    const done = readStream({ ...REQUEST, resume }, signal, (event) => events.push(event));
    await vi.runAllTimersAsync();
    await done;
    return events;
  }

  const dataOf = (events: WireEvent[]) => events.flatMap((e) => (e.kind === "frames" ? e.frames.map((f) => f.frame.data) : []));
  const kindsOf = (events: WireEvent[]) => events.map((event) => event.kind).filter((kind) => kind !== "frames");

  test("a broken connection is gone on with after the last whole frame: nothing lost, nothing twice", async () => {
    const asked = server(
      new Response(body(["id: 0\ndata: a\n\nid: 1\ndata: b\n\nid: 2\nda"], new Error("reset")), DURABLE),
      new TypeError("still away"),
      new Response(body(["id: 2\ndata: c\n\n", "id: 3\ndata: [DONE]\n\n"]), SSE),
    );

    const events = await follow();

    expect(dataOf(events)).toEqual(["a", "b", "c", "[DONE]"]);
    expect(kindsOf(events)).toEqual(["durable", "reconnecting", "end"]);
    expect(asked).toEqual(["POST http://x/", ...Array(2).fill("GET http://x/v1/streams/st_1?after=1")]);
  });

  test("a server that forgot the stream ends it, at once", async () => {
    const asked = server(new Response(body(["id: 0\ndata: a\n\n"], new Error("reset")), DURABLE), new Response("", { status: 404 }));

    const events = await follow();

    expect(events.at(-1)).toEqual({ kind: "broken", message: "reset" });
    expect(asked).toHaveLength(2);
  });

  test("a server that stays away is not waited for without end", async () => {
    const asked = server(new Response(body([], new Error("reset")), DURABLE));

    const events = await follow();

    expect(kindsOf(events)).toEqual(["durable", "reconnecting", "broken"]);
    expect(asked.length).toBeLessThan(12);
  });

  test("resuming reads from the start and sends nothing", async () => {
    const asked = server(new Response(body(["id: 0\ndata: a\n\n"]), SSE));

    const events = await follow("st_9");

    expect(asked).toEqual(["GET http://x/v1/streams/st_9?after=-1"]);
    expect(kindsOf(events)).toEqual(["durable", "end"]);
  });

  test("stopping is told to the server, which would go on otherwise", async () => {
    const controller = new AbortController();
    const endless = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
    controller.signal.addEventListener("abort", () => void endless.cancel().catch(() => undefined));
    const asked = server(new Response(endless, DURABLE), new Response("{}"));
    void readStream(REQUEST, controller.signal, () => undefined);
    await vi.runAllTimersAsync();

    controller.abort();
    await vi.runAllTimersAsync();

    expect(asked).toEqual(["POST http://x/", "POST http://x/v1/streams/st_1/stop"]);
  });
});
