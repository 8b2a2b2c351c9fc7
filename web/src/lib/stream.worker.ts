/** The worker around wire.ts: many requests by id, each can be aborted. */
import { readStream, type WireEvent, type WireRequest } from "./wire";

export type ToWorker = { id: number; send: WireRequest } | { id: number; abort: true };
export type FromWorker = { id: number; event: WireEvent };

const running = new Map<number, AbortController>();

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if ("abort" in data) {
    running.get(data.id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(data.id, controller);
  const post = (event: WireEvent) => self.postMessage({ id: data.id, event } satisfies FromWorker);
  void readStream(data.send, controller.signal, post).finally(() => running.delete(data.id));
});
