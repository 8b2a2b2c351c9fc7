/** The functions view's state: the table of routes, what was typed for each function, the call that runs. */
import { useCallback, useEffect, useState } from "react";
import { apiUrl } from "./api";
import { CallRun } from "./callRun";
import { callRequest, type Draft, emptyDraft, type FunctionRoute, type FunctionTable, readTable, target } from "./functions";
import { LogFeed } from "./logFeed";
import { useStored } from "./stored";
import { openCall } from "./worker";

export type TableState =
  | { kind: "loading" }
  | { kind: "ready"; table: FunctionTable }
  /** 401: wants the admin token; 403: this machine only; 404: no functions here; 0: no answer. */
  | { kind: "refused"; status: number };

export interface Functions {
  table: TableState;
  reload: () => void;
  token: string;
  setToken: (token: string) => void;
  route: FunctionRoute | null;
  choose: (file: string) => void;
  draft: Draft | null;
  setDraft: (change: Partial<Draft>) => void;
  /** The last call of the chosen function. */
  run: CallRun | null;
  running: boolean;
  send: () => void;
  stop: () => void;
}

export function useFunctions(shown: boolean): Functions {
  const [token, setToken] = useStored(sessionStorage, "admin", "");
  const [table, reload] = useTable(token, shown);
  const [file, choose] = useStored(sessionStorage, "function", "");
  const [drafts, setDrafts] = useState<Record<string, Draft>>({});
  const [runs, setRuns] = useState<Record<string, CallRun>>({});
  const [current, setCurrent] = useState<{ run: CallRun; stop: () => void } | null>(null);
  const [feed] = useState(() => new LogFeed());

  const routes = table.kind === "ready" ? table.table.routes : [];
  const route = routes.find((one) => one.file === file) ?? routes[0] ?? null;
  const draft = route && validDraft(route, drafts[route.file]);

  // Each open page holds one of the browser's few connections to this server; a page nobody looks at should not.
  useEffect(() => {
    const leave = () => {
      if (document.hidden && current === null) feed.stop();
    };
    if (!shown && current === null) feed.stop();
    document.addEventListener("visibilitychange", leave);
    return () => document.removeEventListener("visibilitychange", leave);
  }, [shown, current, feed]);

  const send = useCallback(() => {
    if (!route || !draft || current) return;
    const goal = target(route, draft);
    if (!goal.ok) return;
    const url = apiUrl(goal.path.slice(1));
    const run = new CallRun(draft.method, url, newTraceId());
    let startedAt = performance.now();
    let close: (() => void) | null = null;
    const over = () => setCurrent((old) => (old?.run === run ? null : old));
    const stop = () => {
      close?.();
      run.stop(performance.now() - startedAt);
      over();
    };
    setRuns((old) => ({ ...old, [route.file]: run }));
    setCurrent({ run, stop });
    void feed.follow(run, token).then(() => {
      if (run.ending !== null) return; // stopped while the log was opened
      startedAt = performance.now();
      close = openCall(callRequest(url, draft, run.traceId), (event) => {
        run.feed(event);
        if (run.ending !== null) over();
      });
    });
  }, [route, draft, current, token, feed]);

  const setDraft = useCallback(
    (change: Partial<Draft>) => {
      if (route && draft) setDrafts((old) => ({ ...old, [route.file]: { ...draft, ...change } }));
    },
    [route, draft],
  );
  const stop = useCallback(() => current?.stop(), [current]);
  return {
    table, reload, token, setToken, route, choose, draft, setDraft, run: (route && runs[route.file]) ?? null,
    running: current !== null, send, stop,
  };
}

/** What was typed, as far as the function still takes it: files change while the page is open. */
function validDraft(route: FunctionRoute, draft: Draft | undefined): Draft {
  if (!draft) return emptyDraft(route);
  return route.methods.includes(draft.method) ? draft : { ...draft, method: emptyDraft(route).method };
}

/** Functions are edited beside this page: what they have become shows without asking. The table lies ready in the server. */
const LOOK_AGAIN_MS = 2000;

function useTable(token: string, shown: boolean): [TableState, () => void] {
  const [state, setState] = useState<TableState>({ kind: "loading" });
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  useEffect(() => {
    if (!shown) return;
    const controller = new AbortController();
    const look = async () => {
      const found = await fetchTable(token, controller.signal);
      if (!controller.signal.aborted) setState((old) => merged(old, found));
    };
    void look();
    const timer = setInterval(() => void (document.hidden || look()), LOOK_AGAIN_MS);
    addEventListener("focus", look);
    return () => {
      controller.abort();
      clearInterval(timer);
      removeEventListener("focus", look);
    };
  }, [token, shown, round]);
  return [state, reload];
}

async function fetchTable(token: string, signal: AbortSignal): Promise<TableState> {
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  try {
    const response = await fetch(apiUrl("_streamward/routes"), { headers, signal, cache: "no-store" });
    const table = response.ok ? readTable(await response.json().catch(() => null)) : null;
    return table ? { kind: "ready", table } : { kind: "refused", status: response.ok ? 404 : response.status };
  } catch {
    return { kind: "refused", status: 0 };
  }
}

/** The same object when nothing is new; and a server that does not answer takes nothing from the page. */
function merged(old: TableState, found: TableState): TableState {
  if (old.kind === "ready" && found.kind === "refused" && found.status === 0) return old;
  return JSON.stringify(old) === JSON.stringify(found) ? old : found;
}

/** 32 hexadecimal digits, not all zero (W3C Trace Context, section 3.2.2.3). */
function newTraceId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
