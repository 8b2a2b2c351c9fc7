/** The chat as a hook: sends requests, feeds the reducer once per paint, logs frames, stops. */
import { useCallback, useEffect, useMemo, useReducer, useRef } from "react";
import { resumeReply, type StreamListener, streamReply } from "./api";
import { type FrameLog, nextPaint } from "./frames";
import type { Reply, ReplyBuilder } from "./reply";
import { type Action, type ChatRequest, type ChatState, chatRequest, EMPTY_CHAT, reduce, type Settings } from "./state";
import { readStored, writeStored } from "./stored";

/** Actions that begin a reply. */
type Begin = Extract<Action, { replyId: string; model: string }>;

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

export interface Chat {
  state: ChatState;
  /** The body of the last request that was sent. */
  lastRequest: ChatRequest | null;
  begin: (action: Without<Begin, "replyId" | "model" | "at" | "userId">) => void;
  stop: () => void;
  clear: () => void;
}

/** The chat as the tab left it. A reply that was running goes on when its stream is durable; else it has no reader any more. */
function restored(): ChatState {
  const saved = readStored<ChatState>(sessionStorage, "chat", EMPTY_CHAT);
  if (!Array.isArray(saved.turns)) return EMPTY_CHAT;
  let running: string | null = null;
  const turns = saved.turns.map((turn) => {
    if (turn.role !== "assistant" || turn.reply.ending !== null) return turn;
    if (turn.reply.streamId && turn === saved.turns.at(-1)) {
      running = turn.id;
      return turn;
    }
    return { ...turn, reply: { ...turn.reply, ending: { kind: "stopped" as const } } };
  });
  return { turns, running };
}

export function useChat(settings: Settings, apiKey: string, log: FrameLog, onUnauthorized: () => void): Chat {
  const [state, dispatch] = useReducer(reduce, undefined, restored);
  const abort = useRef<AbortController | null>(null);
  const lastRequest = useRef<ChatRequest | null>(null);
  // The newest values, for callbacks that must not change with them.
  const latest = useRef({ state, settings, apiKey, onUnauthorized });
  latest.current = { state, settings, apiKey, onUnauthorized };

  // Not for each token: at rest, and when the page goes away in the middle of a reply.
  useEffect(() => {
    if (state.running === null) writeStored(sessionStorage, "chat", state);
  }, [state]);
  useEffect(() => {
    const save = () => writeStored(sessionStorage, "chat", latest.current.state);
    addEventListener("pagehide", save);
    return () => removeEventListener("pagehide", save);
  }, []);

  const run = useCallback(
    (replyId: string, key: string, ask: Ask) => {
      const controller = new AbortController();
      abort.current = controller;
      log.clear();
      void stream(ask, key, controller.signal, log, replyId, dispatch).then((status) => {
        if (abort.current === controller) abort.current = null;
        if (status === 401) latest.current.onUnauthorized();
      });
    },
    [log],
  );

  const begin = useCallback<Chat["begin"]>(
    (partial) => {
      const now = latest.current;
      if (now.state.running !== null || !now.settings.model) return;
      const replyId = newId();
      const action = { ...partial, userId: newId(), replyId, model: now.settings.model, at: performance.now() } as Begin;
      const next = reduce(now.state, action);
      if (next === now.state) return;
      dispatch(action);
      const request = chatRequest(next.turns, now.settings);
      lastRequest.current = request;
      run(replyId, now.apiKey, (key, signal, listener) => streamReply(request, key, signal, listener));
    },
    [run],
  );

  // Once, after a reload in the middle of a reply.
  useEffect(() => {
    const { running, turns } = latest.current.state;
    const turn = turns.find((one) => one.id === running);
    if (turn?.role !== "assistant" || abort.current) return;
    run(turn.id, latest.current.apiKey, async (key, signal, listener) => {
      const reply = await resumeReply(turn.reply.streamId, key, signal, listener);
      return reply.ending?.kind === "refused" ? lost(turn.reply, reply.ending.status) : reply;
    });
  }, [run]);

  const stop = useCallback(() => abort.current?.abort(), []);
  const clear = useCallback(() => {
    abort.current?.abort();
    log.clear();
    lastRequest.current = null;
    dispatch({ type: "clear" });
  }, [log]);

  return useMemo(
    () => ({ state, lastRequest: lastRequest.current, begin, stop, clear }),
    [state, begin, stop, clear],
  );
}

/** One way to a reply: asking anew, or going on. */
type Ask = (key: string, signal: AbortSignal, listener: StreamListener) => Promise<Reply>;

/** What was there when the page was left; the rest is out of reach. */
function lost(reply: Reply, status: number): Reply {
  const why = status === 0 ? "the server does not answer" : "the server does not have the rest any more";
  const message = `The page was left in the middle of this answer, and ${why}.`;
  return { ...reply, reconnecting: false, ending: { kind: "interrupted", code: status === 0 ? "no_connection" : "stream_gone", message } };
}

/** Resolves to the HTTP status of a refusal, else null. */
async function stream(
  ask: Ask,
  key: string,
  signal: AbortSignal,
  log: FrameLog,
  replyId: string,
  dispatch: (action: Action) => void,
): Promise<number | null> {
  let waiting = false;
  let ended = false;
  const progress = (builder: ReplyBuilder) => {
    if (waiting) return;
    waiting = true;
    nextPaint(() => {
      waiting = false;
      if (!ended) dispatch({ type: "progress", replyId, reply: builder.reply });
    });
  };
  const reply = await ask(key, signal, {
    frames: (frames) => {
      for (const { frame, atMs, read } of frames) log.push(frame, atMs, read);
    },
    progress,
  });
  ended = true;
  dispatch({ type: "end", replyId, reply });
  return reply.ending?.kind === "refused" ? reply.ending.status : null;
}

let counter = 0;

/** Unique within a tab; `crypto.randomUUID` is missing on plain-HTTP pages other than localhost. */
function newId(): string {
  counter += 1;
  return `${Date.now().toString(36)}-${counter}`;
}
