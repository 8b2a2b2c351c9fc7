/** The two calls this page makes: the models list, and a streamed chat completion read by the worker. */
import { type Ending, isObject, ReplyBuilder, type Reply } from "./reply";
import type { ChatRequest } from "./state";
import { refusal, type TimedFrame, type WireEnd, type WireRequest } from "./wire";
import { openStream, warmUp } from "./worker";

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

export async function fetchModels(key: string, signal: AbortSignal): Promise<Model[]> {
  const response = await fetch(apiUrl("v1/models"), { headers: headersFor(key), signal }).catch(() => {
    throw new ApiError(0, "no_connection", "The server did not answer. Is streamward still running?");
  });
  if (!response.ok) {
    const { status, code, message } = await refusal(response);
    throw new ApiError(status, code, message);
  }
  warmUp();
  const body: unknown = await response.json().catch(() => null);
  const list = isObject(body) && Array.isArray(body.data) ? body.data : [];
  return list.filter(isObject).flatMap((model) => {
    if (typeof model.id !== "string") return [];
    const text = (value: unknown) => (typeof value === "string" ? value : "");
    return [{ id: model.id, ownedBy: text(model.owned_by), description: text(model.description) }];
  });
}

export interface StreamListener {
  frames(frames: readonly TimedFrame[]): void;
  /** After the reply took in those frames. */
  progress(builder: ReplyBuilder): void;
}

/** Asks for a durable stream: it outlives a broken connection and a reload of the page. */
const DURABLE = { "x-streamward-resumable": "1" };

/** Streams one reply to its end and never rejects: the reply's `ending` says what happened. */
export function streamReply(request: ChatRequest, key: string, signal: AbortSignal, listener: StreamListener): Promise<Reply> {
  const send = {
    url: apiUrl("v1/chat/completions"),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...DURABLE, ...headersFor(key) },
    body: JSON.stringify(request),
    streams: apiUrl("v1/streams/"),
    resume: null,
  };
  return follow(send, signal, listener);
}

/** Reads a durable stream again from its start, and on to its end. */
export function resumeReply(streamId: string, key: string, signal: AbortSignal, listener: StreamListener): Promise<Reply> {
  const headers = { Accept: "text/event-stream", ...headersFor(key) };
  return follow({ url: "", headers, body: "", streams: apiUrl("v1/streams/"), resume: streamId }, signal, listener);
}

function follow(request: WireRequest, signal: AbortSignal, listener: StreamListener): Promise<Reply> {
  const startedAt = performance.now();
  const builder = new ReplyBuilder(startedAt, request.resume !== null);
  return new Promise((resolve) => {
    const stop = openStream(request, (event) => {
      // Frames still on the way from the worker when the user stopped are not taken in.
      if (signal.aborted) return;
      if (event.kind === "frames") {
        listener.frames(event.frames);
        for (const { frame, atMs } of event.frames) {
          if (frame.kind === "event") builder.feed(frame.data, startedAt + atMs);
        }
        listener.progress(builder);
      } else if (event.kind === "durable") {
        builder.durable(event.streamId);
      } else if (event.kind === "reconnecting") {
        builder.reconnecting();
        listener.progress(builder);
      } else {
        resolve(event.kind === "end" ? builder.close() : builder.end(endingFor(event)));
      }
    });
    signal.addEventListener("abort", () => {
      stop();
      resolve(builder.end({ kind: "stopped" }));
    });
  });
}

function endingFor(event: Exclude<WireEnd, { kind: "end" }>): Ending {
  if (event.kind === "refused") return event;
  const message = `The connection broke in the middle of the answer (${event.message}).`;
  return { kind: "interrupted", code: "connection_lost", message };
}
