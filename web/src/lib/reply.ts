/**
 * A streamed Chat Completions reply, built from SSE data: text, reasoning, tool calls, usage and how it ended.
 *
 * Pure: no clock (times come in), no network. The truth about endings lives here: a reply is "finished" only when the
 * model gave a finish reason and the server said [DONE]; everything else says what is missing.
 */

export interface ToolCall {
  index: number;
  id: string;
  name: string;
  arguments: string;
}

export interface Usage {
  prompt: number;
  completion: number;
  total: number;
  reasoning: number;
  cached: number;
}

export type Ending =
  | { kind: "finished"; reason: string }
  | { kind: "stopped" }
  /** After the answer had begun. The text so far is real and kept. */
  | { kind: "interrupted"; code: string; message: string }
  /** Before it: an HTTP error, or no connection (status 0). */
  | { kind: "refused"; status: number; code: string; message: string; retryAfter: number | null };

export interface Timing {
  startedAt: number;
  firstTokenAt: number | null;
  lastTokenAt: number | null;
  /** Chunks that carried content: the estimate of tokens while no usage has come. */
  contentChunks: number;
  /** Read again from the start after the page was left: its times are those of reading, not of the model. */
  replayed: boolean;
}

export interface Reply {
  text: string;
  reasoning: string;
  refusal: string;
  tools: ToolCall[];
  model: string;
  usage: Usage | null;
  timing: Timing;
  /** The durable stream it comes from; "" when there is none. */
  streamId: string;
  /** The connection broke, and another is being tried. */
  reconnecting: boolean;
  ending: Ending | null;
}

export function emptyReply(startedAt: number): Reply {
  return {
    text: "",
    reasoning: "",
    refusal: "",
    tools: [],
    model: "",
    usage: null,
    timing: { startedAt, firstTokenAt: null, lastTokenAt: null, contentChunks: 0, replayed: false },
    streamId: "",
    reconnecting: false,
    ending: null,
  };
}

type Json = Record<string, unknown>;

/** Collects one reply. `feed` each event's data, `close` when the body ended; `reply` may be read at any time. */
export class ReplyBuilder {
  private readonly current: Reply;
  private finish: string | null = null;
  private done = false;
  private failure: { code: string; message: string } | null = null;
  private readonly tools = new Map<number, ToolCall>();

  constructor(startedAt: number, replayed = false) {
    this.current = emptyReply(startedAt);
    this.current.timing.replayed = replayed;
  }

  durable(streamId: string): void {
    this.current.streamId = streamId;
  }

  reconnecting(): void {
    this.current.reconnecting = true;
  }

  /** A copy that later feeds do not touch. */
  get reply(): Reply {
    return { ...this.current, timing: { ...this.current.timing }, tools: [...this.tools.values()].map((t) => ({ ...t })) };
  }

  /** Returns true once nothing after this frame matters. */
  feed(data: string, at: number): boolean {
    this.current.reconnecting = false;
    if (this.done || this.failure) return true;
    if (data.trim() === "") return false;
    if (data.trim() === "[DONE]") {
      this.done = true;
      return true;
    }
    let chunk: unknown;
    try {
      chunk = JSON.parse(data);
    } catch {
      this.failure = { code: "invalid_chunk", message: "The server sent a frame that is not JSON. The inspector shows its bytes." };
      return true;
    }
    if (!isObject(chunk)) {
      this.failure = { code: "invalid_chunk", message: "The server sent a frame that is no chunk object. The inspector shows its bytes." };
      return true;
    }
    this.chunk(chunk, at);
    return this.failure !== null;
  }

  close(): Reply {
    this.current.reconnecting = false;
    this.current.ending = this.ending();
    return this.reply;
  }

  /** Ends the reply for a cause outside the stream: the stop button, a broken connection. */
  end(ending: Ending): Reply {
    this.current.reconnecting = false;
    // A failure the server named says more than the broken connection after it.
    this.current.ending = this.failure && ending.kind !== "stopped" ? this.ending() : ending;
    return this.reply;
  }

  private ending(): Ending {
    if (this.failure) return { kind: "interrupted", ...this.failure };
    if (this.finish === "error") {
      return { kind: "interrupted", code: "error", message: "The model reported that it failed in the middle of the answer." };
    }
    if (this.finish !== null && this.done) return { kind: "finished", reason: this.finish };
    if (this.finish !== null) {
      const message = `The model finished (${this.finish}), but the stream broke off before [DONE]: token usage may be missing.`;
      return { kind: "interrupted", code: "missing_done", message };
    }
    if (this.done) {
      const message = "The stream ended with [DONE] but without a finish reason: the answer may be incomplete.";
      return { kind: "interrupted", code: "missing_finish_reason", message };
    }
    const message = "The connection closed before the answer was complete: no finish reason, no [DONE].";
    return { kind: "interrupted", code: "stream_truncated", message };
  }

  private chunk(chunk: Json, at: number): void {
    if (typeof chunk.model === "string" && chunk.model) this.current.model = chunk.model;
    if (isObject(chunk.usage)) this.current.usage = readUsage(chunk.usage);
    // The first choice is the answer this page shows; with n > 1 the inspector has the others.
    const choice = Array.isArray(chunk.choices) ? chunk.choices.find((c) => isObject(c) && (c.index ?? 0) === 0) : undefined;
    if (isObject(choice)) {
      if (isObject(choice.delta)) this.delta(choice.delta, at);
      if (typeof choice.finish_reason === "string") this.finish = choice.finish_reason;
    }
    const error = chunk.error ?? (chunk.object === "error" ? chunk : undefined);
    if (error) this.failure = readError(error, "upstream_error");
  }

  private delta(delta: Json, at: number): void {
    const { current } = this;
    let content = false;
    const take = (value: unknown): string => {
      if (typeof value !== "string" || value === "") return "";
      content = true;
      return value;
    };
    // Engines join `+=` on strings as ropes: linear, unlike the same in a language with flat strings.
    current.text += take(delta.content);
    current.reasoning += take(delta.reasoning_content ?? delta.reasoning);
    current.refusal += take(delta.refusal);
    if (Array.isArray(delta.tool_calls)) {
      delta.tool_calls.forEach((fragment, position) => {
        if (!isObject(fragment)) return;
        content = true;
        this.toolFragment(fragment, position);
      });
    }
    if (!content) return;
    current.timing.firstTokenAt ??= at;
    current.timing.lastTokenAt = at;
    current.timing.contentChunks += 1;
  }

  private toolFragment(fragment: Json, position: number): void {
    const index = typeof fragment.index === "number" ? fragment.index : position;
    const call = this.tools.get(index) ?? { index, id: "", name: "", arguments: "" };
    this.tools.set(index, call);
    // The id comes once, in the first fragment; some vendors repeat it, or send "" later.
    if (typeof fragment.id === "string" && fragment.id) call.id = fragment.id;
    if (!isObject(fragment.function)) return;
    if (typeof fragment.function.name === "string" && fragment.function.name) call.name = fragment.function.name;
    const piece = fragment.function.arguments;
    if (typeof piece === "string") call.arguments += piece;
    else if (isObject(piece)) call.arguments += JSON.stringify(piece);
  }
}

/** Code and message of an error object in any of the shapes servers use; the page's words where they gave none. */
export function readError(error: unknown, fallbackCode: string): { code: string; message: string } {
  if (typeof error === "string" && error) return { code: fallbackCode, message: error };
  if (!isObject(error)) return { code: fallbackCode, message: "The server gave no reason." };
  const code = [error.code, error.type].find((v) => (typeof v === "string" && v !== "") || typeof v === "number");
  const message = typeof error.message === "string" && error.message ? error.message : "The server gave no reason.";
  return { code: code === undefined ? fallbackCode : String(code), message };
}

function readUsage(usage: Json): Usage {
  const prompt = count(usage.prompt_tokens);
  const completion = count(usage.completion_tokens);
  return {
    prompt,
    completion,
    total: count(usage.total_tokens) || prompt + completion,
    reasoning: isObject(usage.completion_tokens_details) ? count(usage.completion_tokens_details.reasoning_tokens) : 0,
    cached: isObject(usage.prompt_tokens_details) ? count(usage.prompt_tokens_details.cached_tokens) : 0,
  };
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
