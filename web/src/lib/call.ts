/**
 * Sends any one HTTP request and reports its head and each read of its body with the time it came. Runs in the worker,
 * like wire.ts: on the page's own thread a time would be the time at which drawing left room to look.
 *
 * Bytes and times only; what they mean lives in callRun.ts.
 */

export interface CallRequest {
  url: string;
  method: string;
  headers: [string, string][];
  body: string | null;
}

/** Reported in order: at most one "head", any number of "read", then exactly one of the others. */
export type CallEvent =
  | { kind: "head"; status: number; statusText: string; headers: [string, string][]; redirectedTo: string | null; atMs: number }
  | { kind: "read"; bytes: Uint8Array; atMs: number }
  | { kind: "complete"; atMs: number }
  /** The body broke off: less came than the framing of HTTP promised. */
  | { kind: "broken"; message: string; atMs: number }
  | { kind: "unreachable"; message: string; atMs: number };

/** Never throws: what went wrong is the last event. */
export async function call(request: CallRequest, signal: AbortSignal, emit: (event: CallEvent) => void): Promise<void> {
  const startedAt = performance.now();
  const since = () => performance.now() - startedAt;
  let response: Response;
  try {
    const { method, headers, body } = request;
    response = await fetch(request.url, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    return emit({ kind: "unreachable", message: messageOf(error), atMs: since() });
  }
  emit({
    kind: "head",
    status: response.status,
    statusText: response.statusText,
    headers: [...response.headers],
    redirectedTo: response.redirected ? response.url : null,
    atMs: since(),
  });
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const read = await reader?.read();
      if (!read || read.done) return emit({ kind: "complete", atMs: since() });
      emit({ kind: "read", bytes: read.value, atMs: since() });
    }
  } catch (error) {
    emit({ kind: "broken", message: messageOf(error), atMs: since() });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
