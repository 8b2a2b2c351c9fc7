/** What to tell a person about the end of a call: a title, and what to do now. Pure text. */
import type { CallRun } from "./callRun";

export interface CallAdvice {
  tone: "good" | "error" | "warning" | "info";
  title: string;
  code: string;
  hint: string;
}

const SEE_LOG = "The log has the traceback.";
const DEADLINE = "Answer sooner, or raise max_duration in the file.";

/** Errors of the host, before the first byte. */
const REFUSALS: Record<string, [title: string, hint: string]> = {
  FUNCTION_INVOCATION_FAILED: ["The function failed before its first byte", SEE_LOG],
  NO_RESPONSE_FROM_FUNCTION: ["The function ended without a response", "Return or yield something, or None for 204."],
  FUNCTION_INVOCATION_TIMEOUT: ["The deadline passed before the first byte", DEADLINE],
  FUNCTION_THROTTLED: ["Too many calls at once", "Wait for one to end, or raise max_concurrency or workers."],
  SERVER_DRAINING: ["The server is shutting down", "Start it again, then repeat the call."],
  FUNCTION_PAYLOAD_TOO_LARGE: ["The body is too large", "Send less, or raise max_body_bytes."],
  MALFORMED_REQUEST_BODY: ["The body is not what its type says", "Look at the JSON above."],
  INVALID_REQUEST_METHOD: ["The function has no such method", "Pick one of the methods it names in the allow header."],
  NOT_FOUND: ["No function answers at this path", "It may have been moved: reload the list."],
};

/** After the first byte, by what the log reports of the invocation. */
const CUTS: Record<string, [title: string, hint: string]> = {
  timeout: ["Cut off at the deadline", DEADLINE],
  error: ["Cut off: the function failed", SEE_LOG],
  crashed: ["Cut off: its worker died", "The log has its last words. The next call gets a new worker."],
};

/** null while the call runs. */
export function callAdvice(run: CallRun): CallAdvice | null {
  const { ending, head, report } = run;
  if (ending === null) return null;
  if (ending.kind === "stopped") {
    return { tone: "info", title: "Stopped by you", code: "", hint: "The function was told that its client has left." };
  }
  if (ending.kind === "unreachable") {
    return { tone: "error", title: "No answer from the server", code: "", hint: `Is streamward still running? (${ending.message})` };
  }
  if (ending.kind === "cut_off") {
    const [title, hint] = CUTS[report?.outcome ?? ""] ?? ["Cut off in the middle", "What arrived is below; the end is missing."];
    return { tone: "error", title, code: report?.code ?? "", hint };
  }
  const code = run.header("x-streamward-error");
  const [title, hint] = REFUSALS[code] ?? [];
  if (title !== undefined) return { tone: "error", title, code, hint: hint ?? "" };
  const status = head?.status ?? 0;
  if (status >= 400) return { tone: "warning", title: `Complete: the function answered ${status}`, code, hint: "" };
  return { tone: "good", title: "Complete", code: "", hint: "" };
}
