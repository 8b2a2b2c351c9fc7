/** The log of one call, entry by entry as the function writes it. */
import { useEffect, useRef } from "react";
import type { CallRun, LogEntry } from "../../lib/callRun";
import { formatMs } from "../../lib/metrics";
import { CopyButton } from "../controls";

/** Rows in the document; a function that logs more is read with `streamward logs`. */
const MAX_ROWS = 1000;

const FOLLOW_PX = 40;

export function CallLogs({ run }: { run: CallRun }) {
  const box = useRef<HTMLOListElement>(null);
  const following = useRef(true);
  const { entries, logs } = run;
  const rows = entries.slice(-MAX_ROWS);
  useEffect(() => {
    const element = box.current;
    if (element && following.current) element.scrollTop = element.scrollHeight;
  }, [run, run.entryCount]);
  return (
    <section className="logs" aria-label="Log of this call">
      <header>
        <h3>Log</h3>
        <span className={`log-state log-${logs.kind}`}>{logs.kind === "live" ? "live" : logs.kind === "opening" ? "opening…" : ""}</span>
        {entries.length > 0 && <CopyButton text={() => entries.map(asLine).join("\n")} label="Copy the log" compact />}
      </header>
      {logs.kind === "failed" && (
        <p className="answer-note" role="alert">
          {logs.message}
        </p>
      )}
      {entries.length === 0 && logs.kind !== "failed" ? (
        <p className="answer-empty">{run.ending === null ? "The function has said nothing yet." : "The function said nothing."}</p>
      ) : (
        <ol
          ref={box}
          className="log-list"
          tabIndex={0}
          aria-label="Log entries"
          data-testid="call-log"
          onScroll={(event) => {
            const element = event.currentTarget;
            following.current = element.scrollHeight - element.scrollTop - element.clientHeight < FOLLOW_PX;
          }}
        >
          {run.entryCount > rows.length && (
            <li className="log-note">{(run.entryCount - rows.length).toLocaleString("en")} earlier entries are not shown.</li>
          )}
          {rows.map((entry) => (
            <li key={entry.id} className={`log-entry level-${entry.level} type-${entry.type}`} title={new Date(entry.timestamp).toISOString()}>
              <time>{formatMs(Math.max(0, entry.atMs))}</time>
              <span className="log-level">{entry.type === "report" ? "end" : entry.level}</span>
              <span className="log-message">{entry.message}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function asLine(entry: LogEntry): string {
  return `${new Date(entry.timestamp).toISOString()} ${entry.level.padEnd(7)} ${entry.message}`;
}
