/**
 * Sends one request and reports every frame of its body with the time it arrived. Runs in a worker (stream.worker.ts):
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
}

export interface TimedFrame {
  frame: SseFrame;
  /** Milliseconds since the request was sent. */
  atMs: number;
  /** Which read of the body brought it, from 0. */
  read: number;
}

/** Reported in order: any number of "frames", then exactly one of the others. */
export type WireEvent =
  | { kind: "frames"; frames: TimedFrame[] }
  | { kind: "end" }
  | { kind: "refused"; status: number; code: string; message: string; retryAfter: number | null }
  | { kind: "broken"; message: string };

export type WireEnd = Exclude<WireEvent, { kind: "frames" }>;

/** Never throws: what went wrong is the last event. */
export async function readStream(request: WireRequest, signal: AbortSignal, emit: (event: WireEvent) => void): Promise<void> {
  const startedAt = performance.now();
  let response: Response;
  try {
    response = await fetch(request.url, { method: "POST", headers: request.headers, body: request.body, signal });
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
  const reader = response.body.getReader();
  try {
    const sse = new SseReader();
    // To the end of the body, past [DONE]: the connection can then be used again, and the inspector sees all.
    for (let read = 0; ; read++) {
      const { value, done } = await reader.read();
      const atMs = performance.now() - startedAt;
      const frames = done ? sse.close() : sse.feed(value);
      if (frames.length > 0) emit({ kind: "frames", frames: frames.map((frame) => ({ frame, atMs, read })) });
      if (done) return emit({ kind: "end" });
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    emit({ kind: "broken", message: error instanceof Error ? error.message : String(error) });
  }
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
