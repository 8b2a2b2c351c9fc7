/** Figures shown under a reply, and how times and sizes are written. Pure. */
import type { Reply } from "./reply";

export interface Metrics {
  /** Milliseconds from the request to the first content. */
  ttftMs: number | null;
  /** After the first token; null when too little came to say. */
  tokensPerSecond: number | null;
  /** The rate is from chunks, because the server gave no usage (yet). */
  estimated: boolean;
}

export function metricsOf(reply: Reply): Metrics {
  const { startedAt, firstTokenAt, lastTokenAt, contentChunks } = reply.timing;
  if (firstTokenAt === null || lastTokenAt === null || reply.timing.replayed) return { ttftMs: null, tokensPerSecond: null, estimated: false };
  const estimated = reply.usage === null || reply.usage.completion === 0;
  const tokens = estimated ? contentChunks : (reply.usage?.completion ?? 0);
  const seconds = (lastTokenAt - firstTokenAt) / 1000;
  // The first token marks the start of the clock, so it is not counted.
  const tokensPerSecond = tokens > 1 && seconds > 0.005 ? (tokens - 1) / seconds : null;
  return { ttftMs: firstTokenAt - startedAt, tokensPerSecond, estimated };
}

export function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(2)} s`;
}

export function formatRate(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en");
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
