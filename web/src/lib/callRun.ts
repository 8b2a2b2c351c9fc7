/**
 * One call of a function while it runs and afterwards: head, body, times, log entries and how it ended.
 *
 * Pure apart from the paint it waits for: times come in. A store for `useSyncExternalStore`: changes are told at most
 * once per paint, however fast the body comes.
 */
import type { CallEvent } from "./call";
import { nextPaint } from "./frames";
import { isObject } from "./reply";

/** More than this is counted, not kept: a page that holds it all would be the next thing to stop. */
export const MAX_SHOWN_BYTES = 4 * 1024 * 1024;

/** Reads and log entries kept of one call; the oldest go. */
export const MAX_KEPT = 20_000;

export interface Head {
  status: number;
  statusText: string;
  headers: [string, string][];
  redirectedTo: string | null;
  atMs: number;
}

export interface BodyRead {
  number: number;
  atMs: number;
  size: number;
  /** What this read added to the text; a character that was cut in two comes with the read that ends it. */
  text: string;
}

export type CallEnding =
  | { kind: "complete" | "stopped"; atMs: number }
  | { kind: "cut_off" | "unreachable"; message: string; atMs: number };

export interface LogEntry {
  id: string;
  /** Milliseconds since the call began, by this page's clock, when the entry came here. */
  atMs: number;
  timestamp: number;
  level: string;
  type: string;
  message: string;
}

export interface Report {
  outcome: string;
  code: string;
  statusCode: number;
  durationMs: number;
  /** Bytes of the body that the server sent. */
  bytes: number;
}

/** live: entries come as they are written. The others say why they do not. */
export type LogState = { kind: "opening" | "live" | "over" } | { kind: "failed"; message: string };

export class CallRun {
  head: Head | null = null;
  firstByteMs: number | null = null;
  bytes = 0;
  /** Body text that is kept, one piece per read. Only grows. */
  readonly text: string[] = [];
  keptBytes = 0;
  readonly reads: BodyRead[] = [];
  readCount = 0;
  ending: CallEnding | null = null;
  readonly entries: LogEntry[] = [];
  entryCount = 0;
  report: Report | null = null;
  logs: LogState = { kind: "opening" };

  private readonly decoder = new TextDecoder();
  private readonly listeners = new Set<() => void>();
  private version = 0;
  private scheduled = false;

  constructor(
    readonly method: string,
    readonly url: string,
    readonly traceId: string,
    readonly schedule: (run: () => void) => void = nextPaint,
  ) {}

  /** Whether the body is text, as its type says; no type is taken for text. */
  get textual(): boolean {
    const type = this.header("content-type").toLowerCase();
    return type === "" || /^text\/|json|xml|javascript|x-www-form-urlencoded|yaml|csv/.test(type);
  }

  get requestId(): string {
    return this.header("x-streamward-id");
  }

  header(name: string): string {
    return this.head?.headers.find(([key]) => key.toLowerCase() === name)?.[1] ?? "";
  }

  feed(event: CallEvent): void {
    if (this.ending !== null) return;
    if (event.kind === "head") {
      const { kind: _, ...head } = event;
      this.head = head;
    } else if (event.kind === "read") {
      this.read(event.bytes, event.atMs);
    } else if (event.kind === "complete") {
      this.keep(this.decoder.decode(), 0);
      this.ending = { kind: "complete", atMs: event.atMs };
    } else {
      this.ending = { kind: event.kind === "broken" ? "cut_off" : "unreachable", message: event.message, atMs: event.atMs };
    }
    this.changed();
  }

  stop(atMs: number): void {
    if (this.ending !== null) return;
    this.ending = { kind: "stopped", atMs };
    this.changed();
  }

  setLogs(state: LogState): void {
    this.logs = state;
    this.changed();
  }

  /** One entry of the server's log, taken when it belongs to this call. */
  log(data: string, atMs: number): void {
    let entry: unknown;
    try {
      entry = JSON.parse(data);
    } catch {
      return;
    }
    if (!isObject(entry) || (entry.traceId !== this.traceId && (this.requestId === "" || entry.requestId !== this.requestId))) return;
    const text = (value: unknown) => (typeof value === "string" ? value : "");
    const number = (value: unknown) => (typeof value === "number" ? value : 0);
    this.entryCount += 1;
    this.entries.push({
      id: text(entry.id),
      atMs,
      timestamp: number(entry.timestamp),
      level: text(entry.level) || "info",
      type: text(entry.type),
      message: text(entry.message),
    });
    if (this.entries.length > MAX_KEPT) this.entries.splice(0, MAX_KEPT / 10);
    if (entry.type === "report") {
      const { outcome, code, statusCode, durationMs, bytes } = entry;
      this.report = {
        outcome: text(outcome), code: text(code), statusCode: number(statusCode), durationMs: number(durationMs), bytes: number(bytes),
      };
    }
    this.changed();
  }

  private read(bytes: Uint8Array, atMs: number): void {
    this.firstByteMs ??= atMs;
    this.bytes += bytes.length;
    this.readCount += 1;
    const text = this.textual && this.keptBytes < MAX_SHOWN_BYTES ? this.decoder.decode(bytes, { stream: true }) : "";
    this.reads.push({ number: this.readCount, atMs, size: bytes.length, text: text.slice(0, 400) });
    if (this.reads.length > MAX_KEPT) this.reads.splice(0, MAX_KEPT / 10);
    this.keep(text, bytes.length);
  }

  private keep(text: string, size: number): void {
    if (!this.textual || this.keptBytes >= MAX_SHOWN_BYTES) return;
    this.keptBytes += size;
    if (text !== "") this.text.push(text);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  private changed(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      this.version += 1;
      for (const listener of this.listeners) listener();
    });
  }
}
