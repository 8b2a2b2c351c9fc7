/** The functions view's pure part: the table, targets, requests, how a call stands. */
import { describe, expect, test } from "vitest";
import { callAdvice } from "../src/lib/callAdvice";
import { CallRun, MAX_SHOWN_BYTES } from "../src/lib/callRun";
import {
  ALL_METHODS, asCurl, bodyProblem, callRequest, type Draft, emptyDraft, type FunctionRoute, headerProblem, pathParameters,
  readTable, target,
} from "../src/lib/functions";

function route(path: string, part: Partial<FunctionRoute> = {}): FunctionRoute {
  return { path, file: "api/x.py", kind: "methods", methods: ["GET", "POST"], maxDuration: 300, ...part };
}

function draft(part: Partial<Draft> = {}): Draft {
  return { ...emptyDraft(route("/api/x")), ...part };
}

const pair = (name: string, value: string) => ({ id: 1, name, value });
const TRACE = "0123456789abcdef0123456789abcdef";

describe("readTable", () => {
  test("reads routes and problems, and every method for apps", () => {
    const table = readTable({
      routes: [
        { path: "/api/a", file: "api/a.py", kind: "methods", methods: ["GET"], config: { max_duration: 2 } },
        { path: "/api", file: "api/index.py", kind: "asgi", methods: ["*"], config: {} },
      ],
      problems: [{ file: "api/b.py", line: 3, code: "SYNTAX_ERROR", message: "invalid syntax" }],
    });

    expect(table?.routes[0]).toEqual({ path: "/api/a", file: "api/a.py", kind: "methods", methods: ["GET"], maxDuration: 2 });
    expect(table?.routes[1]?.methods).toEqual(ALL_METHODS);
    expect(table?.problems).toHaveLength(1);
  });

  test("is null for anything else", () => {
    expect([null, [], {}, { routes: 3 }, "x"].map(readTable)).toEqual([null, null, null, null, null]);
  });
});

describe("target", () => {
  test("puts parameters into the path, each character its own", () => {
    expect(pathParameters("/api/[a]/[...b]/[[...c]]").map((p) => [p.name, p.many, p.optional])).toEqual([
      ["a", false, false],
      ["b", true, false],
      ["c", true, true],
    ]);
    const typed = draft({ parameters: { a: "x/ü?", b: "one/two words" }, query: [pair("q", "1&2"), pair("", "lost")] });

    expect(target(route("/api/[a]/[...b]/[[...c]]"), typed)).toEqual({ ok: true, path: "/api/x%2F%C3%BC%3F/one/two%20words?q=1%262" });
  });

  test("says what is missing, and refuses segments a browser would resolve", () => {
    expect(target(route("/api/[id]"), draft())).toEqual({ ok: false, missing: "Fill in “id”." });
    expect(target(route("/api/[id]"), draft({ parameters: { id: ".." } })).ok).toBe(false);
    expect(target(route("/api/[...p]"), draft({ parameters: { p: "a/../../v1" } })).ok).toBe(false);
  });

  test("adds the path below an app", () => {
    expect(target(route("/api", { kind: "asgi" }), draft({ below: "/items/3" }))).toEqual({ ok: true, path: "/api/items/3" });
    expect(target(route("/api"), draft({ below: "items" }))).toEqual({ ok: true, path: "/api" });
  });
});

describe("callRequest", () => {
  test("sends JSON unless a header says otherwise, and a trace of its own", () => {
    const plain = callRequest("http://x/api/x", draft({ method: "POST", body: "{}" }), TRACE);
    const typed = callRequest("http://x/api/x", draft({ method: "POST", body: "a", headers: [pair("Content-Type", "text/plain")] }), TRACE);

    expect(plain.headers).toEqual([
      ["content-type", "application/json"],
      ["traceparent", `00-${TRACE}-${TRACE.slice(16)}-01`],
    ]);
    expect(typed.headers[0]).toEqual(["Content-Type", "text/plain"]);
    expect(typed.headers.filter(([name]) => name.toLowerCase() === "content-type")).toHaveLength(1);
  });

  test("GET has no body, whatever was typed", () => {
    expect(callRequest("http://x/", draft({ method: "GET", body: "{}" }), TRACE).body).toBeNull();
  });

  test("names headers that no page may send, and leaves them out", () => {
    expect(headerProblem(pair("Host", "x"))).toContain("curl");
    expect(headerProblem(pair("bad name", "x"))).toContain("no header name");
    expect(headerProblem(pair("x-team", "a\r\nb"))).toContain("cannot carry");
    expect(headerProblem(pair("x-team", "blue"))).toBeNull();
    const request = callRequest("http://x/", draft({ headers: [pair("Cookie", "a=b"), pair("x", "y")] }), TRACE);
    expect(request.headers.map(([name]) => name)).toEqual(["x", "traceparent"]);
  });

  test("warns of JSON that is none, and only then", () => {
    expect(bodyProblem(draft({ method: "POST", body: "{" }))).toContain("Not valid JSON");
    expect(bodyProblem(draft({ method: "POST", body: "{", headers: [pair("content-type", "text/plain")] }))).toBeNull();
    expect(bodyProblem(draft({ method: "GET", body: "{" }))).toBeNull();
  });

  test("curl quotes what a shell would read", () => {
    expect(asCurl("http://x/api?a=1&b=2", draft({ method: "POST", body: `{"a":"it's"}`, headers: [pair("x", "$HOME")] }))).toBe(
      [
        "curl -N -X POST 'http://x/api?a=1&b=2' \\",
        "  -H 'x: $HOME' \\",
        "  -H 'content-type: application/json' \\",
        `  --data-raw '{"a":"it'\\''s"}'`,
      ].join("\n"),
    );
  });
});

function head(status = 200, headers: [string, string][] = [["content-type", "text/plain"], ["x-streamward-id", "r1"]]) {
  return { kind: "head" as const, status, statusText: "", headers, redirectedTo: null, atMs: 1 };
}

function begun(...events: Parameters<CallRun["feed"]>[0][]): CallRun {
  const run = new CallRun("GET", "http://x/api/x", TRACE, (later) => later());
  for (const event of events) run.feed(event);
  return run;
}

const read = (text: string, atMs = 2) => ({ kind: "read" as const, bytes: new TextEncoder().encode(text), atMs });
const entry = (part: object) => JSON.stringify({ id: "1", level: "info", message: "m", type: "stdout", ...part });

describe("CallRun", () => {
  test("joins characters that reads have cut, and counts every byte", () => {
    const bytes = new TextEncoder().encode("aü");
    const run = begun(head(), { kind: "read", bytes: bytes.slice(0, 2), atMs: 5 }, { kind: "read", bytes: bytes.slice(2), atMs: 9 });

    run.feed({ kind: "complete", atMs: 10 });

    expect(run.text.join("")).toBe("aü");
    expect([run.bytes, run.readCount, run.firstByteMs, run.ending?.atMs]).toEqual([3, 2, 5, 10]);
  });

  test("keeps no more text than it shows", () => {
    const run = begun(head());
    const half = new Uint8Array(MAX_SHOWN_BYTES / 2 + 1).fill(97);
    for (let n = 0; n < 4; n++) run.feed({ kind: "read", bytes: half, atMs: n });

    expect(run.bytes).toBe(4 * half.length);
    expect(run.text.join("").length).toBe(2 * half.length);
  });

  test("takes only the log of its own request", () => {
    const run = begun(head());

    run.log(entry({ traceId: TRACE, message: "mine" }), 3);
    run.log(entry({ traceId: "other", requestId: "r2", message: "theirs" }), 4);
    run.log(entry({ requestId: "r1", message: "also mine" }), 5);
    run.log("not json", 6);

    expect(run.entries.map((one) => one.message)).toEqual(["mine", "also mine"]);
  });

  test("without a head, entries without a request id belong to nobody", () => {
    const run = begun();

    run.log(entry({ requestId: "" }), 3);

    expect(run.entries).toEqual([]);
  });

  test("nothing is taken after the end", () => {
    const run = begun(head(), read("a"));
    run.stop(3);

    run.feed(read("b"));
    run.feed({ kind: "complete", atMs: 4 });

    expect(run.text.join("")).toBe("a");
    expect(run.ending?.kind).toBe("stopped");
  });
});

describe("callAdvice", () => {
  const report = (outcome: string, code = "") => entry({ traceId: TRACE, type: "report", outcome, code, statusCode: -1, durationMs: 5 });
  const cut = { kind: "broken" as const, message: "network error", atMs: 9 };

  test("tells complete, cut off, deadline, failure, stop and no answer apart", () => {
    const runs: [CallRun, string][] = [
      [begun(head(), read("a"), { kind: "complete", atMs: 3 }), "Complete"],
      [begun(head(404), { kind: "complete", atMs: 3 }), "Complete: the function answered 404"],
      [begun(head(), read("a"), cut), "Cut off in the middle"],
      [begun({ kind: "unreachable", message: "refused", atMs: 1 }), "No answer from the server"],
      [begun(head(504, [["x-streamward-error", "FUNCTION_INVOCATION_TIMEOUT"]]), { kind: "complete", atMs: 3 }), "The deadline passed before the first byte"],
    ];
    const late = begun(head(), read("a"), cut);
    late.log(report("timeout", "FUNCTION_INVOCATION_TIMEOUT"), 9);
    const failed = begun(head(), read("a"), cut);
    failed.log(report("error", "FUNCTION_INVOCATION_FAILED"), 9);

    expect(runs.map(([run]) => callAdvice(run)?.title)).toEqual(runs.map(([, title]) => title));
    expect(callAdvice(late)).toMatchObject({ title: "Cut off at the deadline", code: "FUNCTION_INVOCATION_TIMEOUT", tone: "error" });
    expect(callAdvice(failed)?.title).toBe("Cut off: the function failed");
    expect(callAdvice(begun(head()))).toBeNull();
  });
});
