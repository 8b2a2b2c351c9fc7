/** The page's end of the worker that reads streams (stream.worker.ts): started with the first request, shared by all. */
import type { CallEvent, CallRequest } from "./call";
import type { FromWorker, ToWorker } from "./stream.worker";
import { noConnection, type WireEvent, type WireRequest } from "./wire";

let worker: Worker | null = null;
let tasks = 0;
const listeners = new Map<number, { listen: (event: WireEvent | CallEvent) => void; lost: WireEvent | CallEvent }>();

/** So that the first question does not wait for it. */
export function warmUp(): void {
  worker ??= startWorker();
}

/** Starts reading a stream of events; the returned function stops it. */
export function openStream(request: WireRequest, listen: (event: WireEvent) => void): () => void {
  const id = open(listen as (event: WireEvent | CallEvent) => void, noConnection());
  return post({ id, send: request });
}

/** Makes any one call; the returned function stops it. */
export function openCall(request: CallRequest, listen: (event: CallEvent) => void): () => void {
  const lost: CallEvent = { kind: "unreachable", message: "the page's worker did not start", atMs: 0 };
  const id = open(listen as (event: WireEvent | CallEvent) => void, lost);
  return post({ id, call: request });
}

function open(listen: (event: WireEvent | CallEvent) => void, lost: WireEvent | CallEvent): number {
  warmUp();
  tasks += 1;
  listeners.set(tasks, { listen, lost });
  return tasks;
}

function post(message: ToWorker): () => void {
  const started = worker;
  started?.postMessage(message);
  return () => started?.postMessage({ id: message.id, abort: true } satisfies ToWorker);
}

const GOES_ON = new Set(["frames", "durable", "reconnecting", "head", "read"]);

function startWorker(): Worker {
  const started = new Worker(new URL("./stream.worker.ts", import.meta.url), { type: "module", name: "streams" });
  started.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
    const task = listeners.get(data.id);
    if (!GOES_ON.has(data.event.kind)) listeners.delete(data.id);
    task?.listen(data.event);
  });
  started.addEventListener("error", () => {
    // The script did not load (the server is gone) or died: no task will get another answer.
    worker = null;
    const left = [...listeners.values()];
    listeners.clear();
    for (const { listen, lost } of left) listen(lost);
  });
  return started;
}
