/** The log of one call, entry by entry as the function writes it. */
import type { CallRun, LogEntry } from "../../lib/callRun";
import { formatMs } from "../../lib/metrics";
import { useFollow } from "../../lib/useFollow";
import { CopyButton } from "../controls";

/** Rows in the document; a function that logs more is read with `streamward logs`. */
const MAX_ROWS = 1000;

export function CallLogs({ run }: { run: CallRun }) {
  const { box, onScroll } = useFollow<HTMLOListElement>(run.entryCount);
  const { entries, logs } = run;
  const rows = entries.slice(-MAX_ROWS);
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
          onScroll={onScroll}
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
