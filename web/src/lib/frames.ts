/**
 * The frame log of one request: every SSE frame with its arrival time, for the inspector.
 *
 * Lives outside React, because frames come faster than screens: `push` appends to an array, listeners are told at most
 * once per animation frame. Bounded: see MAX_FRAMES.
 */
import type { SseFrame } from "../sse";
import { isObject } from "./reply";

export interface LoggedFrame extends SseFrame {
  number: number;
  /** Milliseconds since the request was sent. */
  atMs: number;
  /** Milliseconds since the frame before it. */
  gapMs: number;
  /** Which read of the response body brought it; several frames in one read arrived together. */
  read: number;
  firstOfRead: boolean;
}

/** About ten times a long answer. Beyond it the oldest go, so that a page left open cannot eat the tab's memory. */
export const MAX_FRAMES = 50_000;

export interface FrameTotals {
  frames: number;
  reads: number;
  bytes: number;
  comments: number;
  dropped: number;
}

export class FrameLog {
  private list: LoggedFrame[] = [];
  private counters: FrameTotals = zero();
  private lastAtMs = 0;
  private lastRead = -1;
  private version = 0;
  private scheduled = false;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly schedule: (run: () => void) => void = nextPaint) {}

  get frames(): readonly LoggedFrame[] {
    return this.list;
  }

  get totals(): FrameTotals {
    return this.counters;
  }

  clear(): void {
    this.list = [];
    this.counters = zero();
    this.lastAtMs = 0;
    this.lastRead = -1;
    this.changed();
  }

  push(frame: SseFrame, atMs: number, read: number): void {
    const { counters } = this;
    const firstOfRead = read !== this.lastRead;
    const gapMs = counters.frames === 0 ? atMs : atMs - this.lastAtMs;
    counters.frames += 1;
    counters.bytes += frame.size;
    if (firstOfRead) counters.reads += 1;
    if (frame.kind === "comment") counters.comments += 1;
    this.list.push({ ...frame, number: counters.frames, atMs, gapMs, read, firstOfRead });
    if (this.list.length > MAX_FRAMES) {
      // A tenth at a time: dropping one by one would move the array for each frame.
      counters.dropped += this.list.splice(0, MAX_FRAMES / 10).length;
    }
    this.lastAtMs = atMs;
    this.lastRead = read;
    this.changed();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Changes whenever the frames do. */
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

function zero(): FrameTotals {
  return { frames: 0, reads: 0, bytes: 0, comments: 0, dropped: 0 };
}

/** The next paint, or soon when the tab is hidden and paints nothing. */
export function nextPaint(run: () => void): void {
  if (typeof document !== "undefined" && document.hidden) setTimeout(run, 200);
  else requestAnimationFrame(run);
}

export type FrameKind = "all" | "data" | "comments" | "errors";

export function isErrorFrame(frame: SseFrame): boolean {
  if (frame.kind === "incomplete" || frame.event === "error") return true;
  return frame.kind === "event" && /"error"\s*:\s*[{"]/.test(frame.data);
}

export function filterFrames(frames: readonly LoggedFrame[], kind: FrameKind, text: string): readonly LoggedFrame[] {
  const needle = text.trim().toLowerCase();
  if (kind === "all" && needle === "") return frames;
  return frames.filter((frame) => {
    if (kind === "data" && frame.kind !== "event") return false;
    if (kind === "comments" && frame.kind !== "comment") return false;
    if (kind === "errors" && !isErrorFrame(frame)) return false;
    return needle === "" || frame.raw.toLowerCase().includes(needle);
  });
}

/** One line that says what this frame adds: of a chunk only what differs from the others. */
export function describeFrame(frame: SseFrame): string {
  if (frame.kind === "comment") return `: ${frame.data}`;
  if (frame.kind !== "event") return `${frame.kind} · ${frame.raw}`;
  const prefix = frame.event === "message" ? "" : `${frame.event} · `;
  let chunk: unknown;
  try {
    chunk = JSON.parse(frame.data);
  } catch {
    return prefix + frame.data;
  }
  if (!isObject(chunk)) return prefix + frame.data;
  const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined;
  const parts: string[] = [];
  if (chunk.error) parts.push(`error ${JSON.stringify(chunk.error)}`);
  if (isObject(choice)) {
    if (isObject(choice.delta) && Object.keys(choice.delta).length > 0) parts.push(JSON.stringify(choice.delta));
    if (choice.finish_reason) parts.push(`finish_reason ${JSON.stringify(choice.finish_reason)}`);
  }
  if (chunk.usage) parts.push(`usage ${JSON.stringify(chunk.usage)}`);
  return prefix + (parts.join(" · ") || frame.data);
}

/** Frames counted into equal slices of time, for the arrival strip. */
export function arrivals(frames: readonly LoggedFrame[], slices: number): number[] {
  const counts = new Array<number>(slices).fill(0);
  const last = frames.at(-1)?.atMs ?? 0;
  for (const frame of frames) {
    const slice = last === 0 ? 0 : Math.min(slices - 1, Math.floor((frame.atMs / last) * slices));
    counts[slice] = (counts[slice] ?? 0) + 1;
  }
  return counts;
}

/** Median and 99th percentile of the gaps between frames, in milliseconds. */
export function gapFigures(frames: readonly LoggedFrame[]): { p50: number; p99: number } | null {
  if (frames.length < 3) return null;
  const gaps = frames.slice(1).map((frame) => frame.gapMs).sort((a, b) => a - b);
  const at = (share: number) => gaps[Math.min(gaps.length - 1, Math.floor(share * gaps.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
