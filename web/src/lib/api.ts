/** The two calls this page makes: the models list, and a streamed chat completion read by the worker. */
import { type Ending, isObject, ReplyBuilder, type Reply } from "./reply";
import type { ChatRequest } from "./state";
import type { FromWorker, ToWorker } from "./stream.worker";
import { noConnection, refusal, type TimedFrame, type WireEnd } from "./wire";

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
  worker ??= startWorker(); // so that the first question does not wait for it
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

/** Streams one reply to its end and never rejects: the reply's `ending` says what happened. */
export function streamReply(request: ChatRequest, key: string, signal: AbortSignal, listener: StreamListener): Promise<Reply> {
  const startedAt = performance.now();
  const builder = new ReplyBuilder(startedAt);
  const send = {
    url: apiUrl("v1/chat/completions"),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...headersFor(key) },
    body: JSON.stringify(request),
  };
  return new Promise((resolve) => {
    const call = openCall((event) => {
      // Frames still on the way from the worker when the user stopped are not taken in.
      if (signal.aborted) return;
      if (event.kind === "frames") {
        listener.frames(event.frames);
        for (const { frame, atMs } of event.frames) {
          if (frame.kind === "event") builder.feed(frame.data, startedAt + atMs);
        }
        listener.progress(builder);
      } else {
        resolve(event.kind === "end" ? builder.close() : builder.end(endingFor(event)));
      }
    });
    signal.addEventListener("abort", () => {
      call({ abort: true });
      resolve(builder.end({ kind: "stopped" }));
    });
    call({ send });
  });
}

function endingFor(event: Exclude<WireEnd, { kind: "end" }>): Ending {
  if (event.kind === "refused") return event;
  const message = `The connection broke in the middle of the answer (${event.message}).`;
  return { kind: "interrupted", code: "connection_lost", message };
}

// One worker for the page, started with the first request.
let worker: Worker | null = null;
let calls = 0;
const listeners = new Map<number, (event: FromWorker["event"]) => void>();

function openCall(listen: (event: FromWorker["event"]) => void): (message: DistributiveOmit<ToWorker, "id">) => void {
  worker ??= startWorker();
  const id = ++calls;
  listeners.set(id, listen);
  return (message) => worker?.postMessage({ id, ...message } as ToWorker);
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function startWorker(): Worker {
  const started = new Worker(new URL("./stream.worker.ts", import.meta.url), { type: "module", name: "streams" });
  started.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
    const listen = listeners.get(data.id);
    if (data.event.kind !== "frames") listeners.delete(data.id);
    listen?.(data.event);
  });
  started.addEventListener("error", () => {
    // The script did not load (the server is gone) or died: no call will get another answer.
    worker = null;
    const open = [...listeners.values()];
    listeners.clear();
    for (const listen of open) listen(noConnection());
  });
  return started;
}
