/** The two calls this page makes: the models list, and a streamed chat completion. Reads bytes; meaning lives in reply.ts. */
import { type SseFrame, SseReader } from "../sse";
import { type Ending, isObject, readError, ReplyBuilder, type Reply } from "./reply";
import type { ChatRequest } from "./state";

export interface Model {
  id: string;
  ownedBy: string;
  description: string;
}

/** An answer other than success. `status` 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** Relative to the page: it may be mounted under a prefix. */
export function apiUrl(path: string): string {
  return new URL(path, document.baseURI).href;
}

function headersFor(key: string): Record<string, string> {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export async function fetchModels(key: string, signal?: AbortSignal): Promise<Model[]> {
  const response = await send("v1/models", { headers: headersFor(key), signal: signal ?? null });
  if (!response.ok) throw await errorFrom(response);
  const body: unknown = await response.json().catch(() => null);
  const list = isObject(body) && Array.isArray(body.data) ? body.data : [];
  return list.filter(isObject).flatMap((model) => {
    if (typeof model.id !== "string") return [];
    const text = (value: unknown) => (typeof value === "string" ? value : "");
    return [{ id: model.id, ownedBy: text(model.owned_by), description: text(model.description) }];
  });
}

export interface StreamListener {
  /** Each frame as it is read; *read* numbers the reads of the body. */
  frame(frame: SseFrame, atMs: number, read: number): void;
  /** After every read that changed the reply. */
  progress(builder: ReplyBuilder): void;
}

/** Streams one reply to its end and never throws: the reply's `ending` says what happened. */
export async function streamReply(
  request: ChatRequest,
  key: string,
  signal: AbortSignal,
  listener: StreamListener,
): Promise<Reply> {
  const startedAt = performance.now();
  const builder = new ReplyBuilder(startedAt);
  let committed = false;
  try {
    const response = await send("v1/chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...headersFor(key) },
      body: JSON.stringify(request),
      signal,
    });
    if (!response.ok) throw await errorFrom(response);
    const type = response.headers.get("content-type") ?? "nothing";
    if (!type.toLowerCase().startsWith("text/event-stream") || response.body === null) {
      throw new ApiError(response.status, "not_a_stream", `Expected a stream of events, the server sent ${type}.`);
    }
    committed = true;
    await readBody(response.body, startedAt, builder, listener);
    return builder.close();
  } catch (error) {
    return builder.end(endingFor(error, signal, committed));
  }
}

async function readBody(
  body: ReadableStream<Uint8Array>,
  startedAt: number,
  builder: ReplyBuilder,
  listener: StreamListener,
): Promise<void> {
  const sse = new SseReader();
  const reader = body.getReader();
  try {
    for (let read = 0; ; read++) {
      const { value, done } = await reader.read();
      const now = performance.now();
      const frames = done ? sse.close() : sse.feed(value);
      for (const frame of frames) {
        listener.frame(frame, now - startedAt, read);
        if (frame.kind === "event") builder.feed(frame.data, now);
      }
      if (done) return;
      if (frames.length > 0) listener.progress(builder);
      // Read on to the end of the body, past [DONE]: the connection can then be used again, and the inspector sees all.
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error;
  }
}

async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(apiUrl(path), init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "no_connection", "The server did not answer. Is streamward still running?");
  }
}

async function errorFrom(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: some proxy's page, perhaps. The status has to do.
  }
  const { code, message } = readError(isObject(body) ? body.error : null, `http_${response.status}`);
  const seconds = Number(response.headers.get("retry-after") ?? "");
  return new ApiError(response.status, code, message, seconds > 0 ? seconds : null);
}

function endingFor(error: unknown, signal: AbortSignal, committed: boolean): Ending {
  if (signal.aborted) return { kind: "stopped" };
  if (error instanceof ApiError) {
    return { kind: "refused", status: error.status, code: error.code, message: error.message, retryAfter: error.retryAfter };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (!committed) return { kind: "refused", status: 0, code: "no_connection", message, retryAfter: null };
  return { kind: "interrupted", code: "connection_lost", message: `The connection broke in the middle of the answer (${message}).` };
}
