/**
 * Sends one request and reports every frame of its body with the time it arrived; goes on with a durable stream when its
 * connection breaks, so that no frame is lost or comes twice. Runs in a worker (stream.worker.ts):
 * on the page's own thread a frame's time would be the time at which drawing left room to look, not its arrival.
 *
 * Bytes and times only; meaning lives in reply.ts.
 */
import { type SseFrame, SseReader } from "../sse";
import { isObject, readError } from "./reply";

export interface WireRequest {
  url: string;
  headers: Record<string, string>;
  body: string;
  /** Where the server keeps durable streams, ending in "/". */
  streams: string;
  /** Read this durable stream from its start instead of sending the request. */
  resume: string | null;
}

export interface TimedFrame {
  frame: SseFrame;
  /** Milliseconds since the request was sent. */
  atMs: number;
  /** Which read of the body brought it, from 0. */
  read: number;
}

/** Reported in order: any number of the first three, then exactly one of the others. */
export type WireEvent =
  | { kind: "frames"; frames: TimedFrame[] }
  /** The server records this answer under that name: it can be gone on with. */
  | { kind: "durable"; streamId: string }
  /** The connection broke; another one is being tried. Frames that follow say that it worked. */
  | { kind: "reconnecting" }
  | { kind: "end" }
  | { kind: "refused"; status: number; code: string; message: string; retryAfter: number | null }
  | { kind: "broken"; message: string };

export type WireEnd = Exclude<WireEvent, { kind: "frames" | "durable" | "reconnecting" }>;

/** Pauses before each try to go on with a durable stream: a server that restarts is back within these. */
const RETRY_MS = [200, 500, 1000, 2000, 3000, 4000, 5000];

/** Never throws: what went wrong is the last event. */
export async function readStream(request: WireRequest, signal: AbortSignal, emit: (event: WireEvent) => void): Promise<void> {
  const { headers } = request;
  const startedAt = performance.now();
  const at = (id: string, rest: string) => `${request.streams}${encodeURIComponent(id)}${rest}`;
  let streamId = request.resume;
  let last = "-1"; // the number of the last frame that is here whole
  let reads = 0;

  const first = () => (streamId ? fetch(at(streamId, "?after=-1"), { headers, signal }) : post(request, signal));
  let response: Response;
  try {
    response = await first();
  } catch {
    return emit(noConnection());
  }
  if (!response.ok) return emit({ kind: "refused", ...(await refusal(response)) });
  const type = response.headers.get("content-type") ?? "nothing";
  if (!type.toLowerCase().startsWith("text/event-stream") || response.body === null) {
    await response.body?.cancel();
    const message = `Expected a stream of events, the server sent ${type}.`;
    return emit({ kind: "refused", status: response.status, code: "not_a_stream", message, retryAfter: null });
  }
  streamId = response.headers.get("x-streamward-stream-id") ?? streamId;
  if (streamId) {
    const id = streamId;
    emit({ kind: "durable", streamId: id });
    // A durable stream goes on when its reader leaves, so stopping it has to be said.
    signal.addEventListener("abort", () => void fetch(at(id, "/stop"), { method: "POST", headers, keepalive: true }).catch(() => undefined));
  }
  for (;;) {
    const failure = await readBody(response, (frames, done) => {
      const atMs = performance.now() - startedAt;
      for (const frame of frames) if (frame.kind === "event" && frame.id !== "") last = frame.id;
      // What was cut in two comes again, whole.
      const kept = done === "broken" && streamId ? frames.filter((frame) => frame.kind !== "incomplete") : frames;
      if (kept.length > 0) emit({ kind: "frames", frames: kept.map((frame) => ({ frame, atMs, read: reads })) });
      reads += 1;
    });
    if (failure === null) return emit({ kind: "end" });
    const next = streamId && !signal.aborted ? await reopen(at(streamId, `?after=${last}`), headers, signal, emit) : null;
    if (next === null) return emit({ kind: "broken", message: failure });
    response = next;
  }
}

function post(request: WireRequest, signal: AbortSignal): Promise<Response> {
  return fetch(request.url, { method: "POST", headers: request.headers, body: request.body, signal });
}

/** Reads to the end, past [DONE]: the connection can then be used again, and the inspector sees all. null, or what broke it. */
async function readBody(response: Response, take: (frames: SseFrame[], done: "" | "end" | "broken") => void): Promise<string | null> {
  const reader = response.body?.getReader();
  const sse = new SseReader();
  try {
    for (;;) {
      const read = await reader?.read();
      if (!read || read.done) break;
      take(sse.feed(read.value), "");
    }
    take(sse.close(), "end");
    return null;
  } catch (error) {
    await reader?.cancel().catch(() => undefined);
    take(sse.close(), "broken");
    return error instanceof Error ? error.message : String(error);
  }
}

/** Another connection to the same stream, or null when the server has it no more or stays away. */
async function reopen(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
  emit: (event: WireEvent) => void,
): Promise<Response | null> {
  emit({ kind: "reconnecting" });
  for (const pause of RETRY_MS) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (signal.aborted) return null;
    try {
      const response = await fetch(url, { headers, signal });
      if (response.ok) return response;
      await response.body?.cancel();
      if (response.status < 500) return null;
    } catch {
      // Not back yet.
    }
  }
  return null;
}

export function noConnection(): WireEnd {
  return {
    kind: "refused",
    status: 0,
    code: "no_connection",
    message: "The server did not answer. Is streamward still running?",
    retryAfter: null,
  };
}

export interface Refusal {
  status: number;
  code: string;
  message: string;
  retryAfter: number | null;
}

/** What an answer other than success says, in any of the shapes servers use. */
export async function refusal(response: Response): Promise<Refusal> {
  const text = await response.text().catch(() => "");
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: some proxy's page, perhaps. The status has to do.
  }
  const { code, message } = readError(isObject(body) ? body.error : null, `http_${response.status}`);
  const seconds = Number(response.headers.get("retry-after") ?? "");
  return { status: response.status, code, message, retryAfter: seconds > 0 ? seconds : null };
}
