/** The body of an answer, as text that grows: each piece is added once, so a long body costs no more per read than a short one. */
import { useLayoutEffect, useRef } from "react";
import { type CallRun, MAX_SHOWN_BYTES } from "../../lib/callRun";
import { formatBytes } from "../../lib/metrics";
import { useFollow } from "../../lib/useFollow";
import { Highlighted } from "../CodeBlock";

/** Larger JSON is shown as it came. */
const MAX_PRETTY = 200_000;

/** A complete JSON body, indented; null when it is none, or already reads like that. */
export function prettyBody(run: CallRun): string | null {
  if (run.ending?.kind !== "complete" || run.bytes > MAX_PRETTY || !run.header("content-type").includes("json")) return null;
  try {
    return JSON.stringify(JSON.parse(run.text.join("")), null, 2);
  } catch {
    return null;
  }
}

export function CallBody({ run, pretty }: { run: CallRun; pretty: string | null }) {
  const { bytes } = run;
  if (bytes === 0) return <p className="answer-empty">{emptyBody(run)}</p>;
  if (!run.textual) {
    const type = run.header("content-type");
    return (
      <p className="answer-empty">
        {formatBytes(bytes)} of {type}: not text, so it is not shown.
      </p>
    );
  }
  return (
    <>
      {pretty === null ? (
        <GrowingText run={run} />
      ) : (
        <pre className="answer-scroll" tabIndex={0} aria-label="Body" data-testid="call-body">
          <code>
            <Highlighted code={pretty} language="json" />
          </code>
        </pre>
      )}
      {run.keptBytes >= MAX_SHOWN_BYTES && bytes > run.keptBytes && (
        <p className="answer-note">
          {formatBytes(bytes - run.keptBytes)} more came than the {formatBytes(run.keptBytes)} shown here.
        </p>
      )}
    </>
  );
}

function emptyBody({ ending, head, report }: CallRun): string {
  if (ending === null) return "Nothing has come yet.";
  if (ending.kind === "complete") return "The answer has no body.";
  // Fetch lets go of what it holds when the connection breaks before anybody has read it.
  if (head && report && report.bytes > 0) return `${formatBytes(report.bytes)} came in the same moment as the cut: browsers drop that unread. curl shows it.`;
  return "Nothing came.";
}

/** For one run: another one is another element (the caller gives each a key). */
function GrowingText({ run }: { run: CallRun }) {
  const shown = useRef(0);
  const { box, onScroll } = useFollow<HTMLPreElement>(run.text.length);

  useLayoutEffect(() => {
    if (!box.current || run.text.length === shown.current) return;
    // Text nodes by hand: React would compare the whole text for each read.
    box.current.append(run.text.slice(shown.current).join(""));
    shown.current = run.text.length;
  });

  return <pre ref={box} className="answer-scroll" tabIndex={0} aria-label="Body" data-testid="call-body" onScroll={onScroll} />;
}
