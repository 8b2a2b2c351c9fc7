/** The server's log, followed live over one connection that several calls share. */
import { SseReader } from "../sse";
import type { CallRun } from "./callRun";
import { apiUrl } from "./api";
import { openCall } from "./worker";

/** A call does not wait longer than this for the log to open: the log is worth less than the answer. */
const OPEN_MS = 1500;

export class LogFeed {
  private close: (() => void) | null = null;
  private opened: Promise<void> = Promise.resolve();
  private run: { run: CallRun; startedAt: number } | null = null;

  /** Entries go to *run* from now on; resolves once the log is followed, or will not be. */
  async follow(run: CallRun, token: string): Promise<void> {
    this.run?.run.setLogs({ kind: "over" });
    this.run = { run, startedAt: performance.now() };
    if (this.close === null) this.opened = this.open(token);
    else run.setLogs({ kind: "live" });
    await Promise.race([this.opened, new Promise<void>((resolve) => setTimeout(resolve, OPEN_MS))]);
    this.run.startedAt = performance.now();
  }

  stop(): void {
    this.close?.();
    this.close = null;
    this.run?.run.setLogs({ kind: "over" });
    this.run = null;
  }

  private open(token: string): Promise<void> {
    const headers: [string, string][] = token ? [["authorization", `Bearer ${token}`]] : [];
    const sse = new SseReader();
    return new Promise((resolve) => {
      const lost = (message: string) => {
        this.close = null;
        this.run?.run.setLogs({ kind: "failed", message });
        resolve();
      };
      const close = openCall({ url: apiUrl("_streamward/logs?follow=1"), method: "GET", headers, body: null }, (event) => {
        if (this.close !== close) return;
        if (event.kind === "head" && event.status !== 200) {
          close();
          lost(REFUSED[event.status] ?? `The server refused to show its log (HTTP ${event.status}).`);
        } else if (event.kind === "head") {
          this.run?.run.setLogs({ kind: "live" });
          resolve();
        } else if (event.kind === "read") {
          for (const frame of sse.feed(event.bytes)) {
            if (frame.kind === "event" && this.run) this.run.run.log(frame.data, performance.now() - this.run.startedAt);
          }
        } else {
          lost("The connection to the log broke. The next call opens it again.");
        }
      });
      this.close = close;
    });
  }
}

const REFUSED: Record<number, string> = {
  401: "The server did not take the admin token.",
  403: "The log is shown to this machine only. Set STREAMWARD_ADMIN_TOKEN on the server to read it from elsewhere.",
  404: "This server has no log of functions.",
};
