/** What to tell a person about an ending: a title, and what to do now. Pure text, one table. */
import type { Ending } from "./reply";

export interface Advice {
  tone: "error" | "warning" | "info";
  title: string;
  code: string;
  message: string;
  /** What to do about it; empty when the message says it all. */
  hint: string;
  retry: boolean;
}

const BY_STATUS: Record<number, string> = {
  0: "Check that the server is running and reachable, then try again.",
  400: "Something in the request is not valid for this model. The message names the field.",
  401: "Enter an API key of this server.",
  403: "This key may not use this model.",
  404: "Pick another model from the list.",
  413: "The conversation is too long for one request. Start a new chat.",
  429: "Too many requests. Wait a moment, then try again.",
  502: "The provider behind this server failed. Try again, or pick another model.",
  503: "The server is busy. Wait a moment, then try again.",
  504: "The provider took too long. Try again, or pick another model.",
};

const FINISHES: Record<string, Omit<Advice, "code">> = {
  length: {
    tone: "warning",
    title: "Cut off at the token limit",
    message: "The model reached its maximum number of tokens.",
    hint: "Raise “Max tokens” in the settings, or ask it to continue.",
    retry: false,
  },
  content_filter: {
    tone: "warning",
    title: "Withheld by a content filter",
    message: "The provider stopped this answer.",
    hint: "Rephrase the question, or pick another model.",
    retry: true,
  },
};

/** null: a plain ending, nothing to say. */
export function adviceFor(ending: Ending): Advice | null {
  switch (ending.kind) {
    case "finished": {
      const known = FINISHES[ending.reason];
      return known ? { ...known, code: ending.reason } : null;
    }
    case "stopped":
      return { tone: "info", title: "Stopped by you", code: "", message: "", hint: "", retry: true };
    case "interrupted":
      return {
        tone: "error",
        title: "The answer was interrupted",
        code: ending.code,
        message: ending.message,
        hint: "The text above is what arrived; it may be incomplete.",
        retry: true,
      };
    case "refused": {
      const wait = ending.retryAfter === null ? "" : ` The server asks to wait ${ending.retryAfter} s.`;
      const fallback = ending.status >= 500 ? "Try again in a moment." : "";
      return {
        tone: "error",
        title: ending.status === 0 ? "No answer from the server" : `The request was refused (HTTP ${ending.status})`,
        code: ending.code,
        message: ending.message,
        hint: (BY_STATUS[ending.status] ?? fallback) + wait,
        retry: true,
      };
    }
  }
}
