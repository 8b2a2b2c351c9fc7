/** A call's answer: how it stands, figures, body, reads and headers; its log beside it. */
import { useState, useSyncExternalStore } from "react";
import { callAdvice } from "../../lib/callAdvice";
import type { CallRun } from "../../lib/callRun";
import { formatBytes, formatMs } from "../../lib/metrics";
import { CopyButton } from "../controls";
import { Icon } from "../icons";
import { CallBody, prettyBody } from "./CallBody";
import { CallLogs } from "./CallLogs";
import { CallReads } from "./CallReads";

type Tab = "body" | "reads" | "headers";

const TABS: { id: Tab; label: string }[] = [
  { id: "body", label: "Body" },
  { id: "reads", label: "As it came" },
  { id: "headers", label: "Headers" },
];

export function CallResult({ run }: { run: CallRun }) {
  useSyncExternalStore(run.subscribe, run.snapshot);
  const [tab, setTab] = useState<Tab>("body");
  const [raw, setRaw] = useState(false);
  const pretty = prettyBody(run);
  return (
    <div className="call-result">
      <section className="answer" aria-label="Answer" aria-busy={run.ending === null}>
        <Standing run={run} />
        <div className="answer-bar">
          <div className="segmented small" role="radiogroup" aria-label="Part of the answer">
            {TABS.map((item) => (
              <label key={item.id}>
                <input type="radio" name="answer-part" checked={tab === item.id} onChange={() => setTab(item.id)} />
                <span>{item.label}</span>
              </label>
            ))}
          </div>
          {tab === "body" && pretty !== null && (
            <button type="button" className="text-button compact" aria-pressed={raw} onClick={() => setRaw(!raw)}>
              {raw ? "Formatted" : "Raw"}
            </button>
          )}
          {tab === "body" && run.text.length > 0 && <CopyButton text={() => run.text.join("")} label="Copy the body" compact />}
        </div>
        {tab === "body" && <CallBody run={run} pretty={raw ? null : pretty} />}
        {tab === "reads" && <CallReads run={run} />}
        {tab === "headers" && <Headers run={run} />}
      </section>
      <CallLogs run={run} />
    </div>
  );
}

function Standing({ run }: { run: CallRun }) {
  const advice = callAdvice(run);
  const { head, ending } = run;
  const status = head?.status ?? null;
  return (
    <div className="standing">
      <p className="standing-line">
        {status !== null && (
          <span className={`status status-${Math.floor(status / 100)}`} data-testid="call-status">
            {status} {head?.statusText}
          </span>
        )}
        {/* One live region: a screen reader hears how the call stands, not each read. */}
        <span role="status" className={`standing-end tone-${advice?.tone ?? "running"}`} data-testid="call-ending">
          {advice === null ? (head ? "Streaming…" : "Waiting for the first byte…") : advice.title}
        </span>
        {advice?.code && <code>{advice.code}</code>}
      </p>
      {advice?.hint && <p className="standing-hint">{advice.hint}</p>}
      <dl className="figures">
        {run.firstByteMs !== null && <Figure name="First byte" value={formatMs(run.firstByteMs)} testId="ttfb" />}
        {ending && <Figure name="Total" value={formatMs(ending.atMs)} />}
        {head && <Figure name="Body" value={formatBytes(run.bytes)} testId="call-bytes" />}
        {run.readCount > 0 && <Figure name="Reads" value={run.readCount.toLocaleString("en")} testId="call-reads" />}
        {run.report && <Figure name="In the function" value={formatMs(run.report.durationMs)} />}
        {run.requestId && <Figure name="Request" value={run.requestId} testId="request-id" />}
      </dl>
      {head?.redirectedTo && (
        <p className="standing-hint">
          <Icon name="info" size={14} /> Redirected to {head.redirectedTo}
        </p>
      )}
    </div>
  );
}

function Figure({ name, value, testId }: { name: string; value: string; testId?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd data-testid={testId}>{value}</dd>
    </div>
  );
}

function Headers({ run }: { run: CallRun }) {
  if (!run.head) return <p className="answer-empty">No head has come yet.</p>;
  return (
    <div className="answer-scroll" tabIndex={0} role="region" aria-label="Headers">
      <dl className="header-list" data-testid="call-headers">
        {run.head.headers.map(([name, value], index) => (
          <div key={`${name} ${index}`}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
