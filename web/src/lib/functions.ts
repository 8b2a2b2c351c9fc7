/** The functions of the server as this page sees them: the table of routes, and requests made from what a user typed. Pure. */
import type { CallRequest } from "./call";
import { isObject } from "./reply";

export interface FunctionRoute {
  path: string;
  file: string;
  /** methods, pages, handler, asgi or wsgi. */
  kind: string;
  methods: string[];
  /** Seconds; null when the server did not say. */
  maxDuration: number | null;
}

export interface FunctionProblem {
  file: string;
  line: number;
  code: string;
  message: string;
}

export interface FunctionTable {
  routes: FunctionRoute[];
  problems: FunctionProblem[];
}

export const ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];

/** What `GET /_streamward/routes` said; null when that was no table. */
export function readTable(body: unknown): FunctionTable | null {
  if (!isObject(body) || !Array.isArray(body.routes)) return null;
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const routes = body.routes.filter(isObject).map((route): FunctionRoute => {
    const methods = Array.isArray(route.methods) ? route.methods.filter((method) => typeof method === "string") : [];
    const limit = isObject(route.config) ? route.config.max_duration : null;
    return {
      path: text(route.path),
      file: text(route.file),
      kind: text(route.kind),
      methods: methods.length === 0 || methods.includes("*") ? ALL_METHODS : methods,
      maxDuration: typeof limit === "number" ? limit : null,
    };
  });
  const problems = (Array.isArray(body.problems) ? body.problems : []).filter(isObject).map((problem) => ({
    file: text(problem.file),
    line: typeof problem.line === "number" ? problem.line : 0,
    code: text(problem.code),
    message: text(problem.message),
  }));
  return { routes, problems };
}

/** Apps and handler classes also get every path below their own. */
export function takesPathsBelow(route: FunctionRoute): boolean {
  return ["asgi", "wsgi", "handler"].includes(route.kind);
}

export interface PathParameter {
  name: string;
  /** May hold several segments. */
  many: boolean;
  optional: boolean;
}

const PARAMETER = /^(\[)?\[(\.\.\.)?([^\]]+)\](\])?$/;

export function pathParameters(path: string): PathParameter[] {
  return path.split("/").flatMap((segment) => {
    const found = PARAMETER.exec(segment);
    return found?.[3] ? [{ name: found[3], many: found[2] !== undefined, optional: found[1] !== undefined }] : [];
  });
}

export interface Pair {
  id: number;
  name: string;
  value: string;
}

/** What the user typed for one function. */
export interface Draft {
  method: string;
  parameters: Record<string, string>;
  below: string;
  query: Pair[];
  headers: Pair[];
  body: string;
}

export function emptyDraft(route: FunctionRoute): Draft {
  return { method: route.methods[0] ?? "GET", parameters: {}, below: "", query: [], headers: [], body: "" };
}

export function takesBody(method: string): boolean {
  return method !== "GET" && method !== "HEAD";
}

/** The path and query to call, or what is missing. */
export function target(route: FunctionRoute, draft: Draft): { ok: true; path: string } | { ok: false; missing: string } {
  const segments: string[] = [];
  for (const segment of route.path.split("/")) {
    const found = PARAMETER.exec(segment);
    if (!found?.[3]) {
      segments.push(segment);
      continue;
    }
    const [, optional, many, name] = found;
    const typed = draft.parameters[name] ?? "";
    const values = many ? typed.split("/").filter((value) => value !== "") : [typed].filter((value) => value !== "");
    if (values.length === 0 && !optional) return { ok: false, missing: `Fill in “${name}”.` };
    // Browsers resolve these two whatever their spelling, so they would call another path.
    if (values.some((value) => value === "." || value === "..")) return { ok: false, missing: `“${name}” cannot be “.” or “..”.` };
    segments.push(...values.map(encodeURIComponent));
  }
  const below = draft.below.split("/").filter((value) => value !== "");
  if (takesPathsBelow(route)) segments.push(...below.map(encodeURIComponent));
  const query = new URLSearchParams(named(draft.query)).toString();
  return { ok: true, path: segments.join("/") + (query ? `?${query}` : "") };
}

function named(pairs: readonly Pair[]): [string, string][] {
  return pairs.filter((pair) => pair.name.trim() !== "").map((pair) => [pair.name.trim(), pair.value]);
}

/** Names that a browser sets itself: what a page says about them is dropped without a word. */
const BROWSERS_OWN =
  /^(accept-(charset|encoding)|access-control-.*|connection|content-length|cookie2?|date|dnt|expect|host|keep-alive|origin|referer|te|trailer|transfer-encoding|upgrade|via|proxy-.*|sec-.*)$/i;

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Why this header cannot be sent from a page; null when it can. */
export function headerProblem({ name, value }: Pair): string | null {
  const trimmed = name.trim();
  if (trimmed === "") return null;
  if (!HEADER_NAME.test(trimmed)) return `“${trimmed}” is no header name.`;
  if (BROWSERS_OWN.test(trimmed)) return `Browsers set ${trimmed} themselves. Copy the call as curl to send it.`;
  return /[\0\r\n]|[^\0-\xff]/.test(value) ? `The value of ${trimmed} has a character that headers cannot carry.` : null;
}

/** Why the body is not what its type says; null when it is, or when there is none. */
export function bodyProblem(draft: Draft): string | null {
  if (!takesBody(draft.method) || draft.body.trim() === "" || contentType(draft) !== "application/json") return null;
  try {
    JSON.parse(draft.body);
    return null;
  } catch (error) {
    return `Not valid JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function contentType(draft: Draft): string {
  const given = named(draft.headers).find(([name]) => name.toLowerCase() === "content-type");
  return given ? given[1].trim().toLowerCase() : "application/json";
}

/** *url* is the whole address; *traceId* lets the log tell this call from all others, before its head is there. */
export function callRequest(url: string, draft: Draft, traceId: string): CallRequest {
  const headers = named(draft.headers).filter(([name, value]) => headerProblem({ id: 0, name, value }) === null);
  const body = takesBody(draft.method) && draft.body !== "" ? draft.body : null;
  const has = (wanted: string) => headers.some(([name]) => name.toLowerCase() === wanted);
  if (body !== null && !has("content-type")) headers.push(["content-type", "application/json"]);
  if (!has("traceparent")) headers.push(["traceparent", `00-${traceId}-${traceId.slice(16)}-01`]);
  return { url, method: draft.method, headers, body };
}

export function asCurl(url: string, draft: Draft): string {
  // Inside single quotes a shell reads everything as it is, except the quote itself.
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl -N ${draft.method === "HEAD" ? "--head " : draft.method === "GET" ? "" : `-X ${draft.method} `}${quoted(url)}`];
  const headers = named(draft.headers);
  if (takesBody(draft.method) && draft.body !== "") {
    if (!headers.some(([name]) => name.toLowerCase() === "content-type")) headers.push(["content-type", "application/json"]);
  }
  lines.push(...headers.map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)}`));
  if (takesBody(draft.method) && draft.body !== "") lines.push(`  --data-raw ${quoted(draft.body)}`);
  return lines.join(" \\\n");
}
