/** The worker around wire.ts and call.ts: many requests by id, each can be aborted. */
import { call, type CallEvent, type CallRequest } from "./call";
import { readStream, type WireEvent, type WireRequest } from "./wire";

export type ToWorker = { id: number; send: WireRequest } | { id: number; call: CallRequest } | { id: number; abort: true };
export type FromWorker = { id: number; event: WireEvent | CallEvent };

const running = new Map<number, AbortController>();

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if ("abort" in data) {
    running.get(data.id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(data.id, controller);
  const post = (event: WireEvent | CallEvent) => self.postMessage({ id: data.id, event } satisfies FromWorker);
  const { signal } = controller;
  const done = "call" in data ? call(data.call, signal, post) : readStream(data.send, signal, post);
  void done.finally(() => running.delete(data.id));
});
