/** The frame inspector: every SSE frame of the last request, when it came, how large it was and what it said. */
import { useMemo, useState, useSyncExternalStore } from "react";
import { arrivals, filterFrames, type FrameKind, type FrameLog, gapFigures, type LoggedFrame } from "../lib/frames";
import { formatBytes, formatMs } from "../lib/metrics";
import { Highlighted } from "./CodeBlock";
import { CopyButton, IconButton } from "./controls";
import { FrameList } from "./FrameList";

const KINDS: { id: FrameKind; label: string }[] = [
  { id: "all", label: "All" },
  { id: "data", label: "Data" },
  { id: "comments", label: "Comments" },
  { id: "errors", label: "Errors" },
];

export function Inspector({ log, onClose }: { log: FrameLog; onClose: () => void }) {
  const version = useSyncExternalStore(log.subscribe, log.snapshot);
  const [kind, setKind] = useState<FrameKind>("all");
  const [text, setText] = useState("");
  const [selected, setSelected] = useState<number | null>(null);
  const frames = useMemo(() => filterFrames(log.frames, kind, text).slice(), [log, version, kind, text]);
  const chosen = selected === null ? undefined : frames.find((frame) => frame.number === selected);

  return (
    <aside className="inspector" aria-label="Frame inspector">
      <header className="inspector-head">
        <h2>Frames</h2>
        <CopyButton text={() => log.frames.map((frame) => frame.raw).join("")} label="Copy all frames" compact />
        <IconButton icon="close" label="Close the inspector" onClick={onClose} shortcut="Alt+I" />
      </header>
      <Totals log={log} version={version} />
      <div className="inspector-filter">
        <input
          type="search"
          aria-label="Filter frames by text"
          placeholder="Filter"
          spellCheck={false}
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <div className="segmented small" role="radiogroup" aria-label="Kind of frame">
          {KINDS.map((item) => (
            <label key={item.id}>
              <input type="radio" name="frame-kind" checked={kind === item.id} onChange={() => setKind(item.id)} />
              <span>{item.label}</span>
            </label>
          ))}
        </div>
      </div>
      {frames.length === 0 ? (
        <p className="inspector-empty">
          {log.totals.frames === 0 ? "Send a message: each frame of the answer shows here as it arrives." : "No frame matches the filter."}
        </p>
      ) : (
        <FrameList frames={frames} selected={chosen?.number ?? null} onSelect={setSelected} />
      )}
      {chosen && <FrameDetail frame={chosen} onClose={() => setSelected(null)} />}
    </aside>
  );
}

const SLICES = 60;

function Totals({ log, version }: { log: FrameLog; version: number }) {
  const { counts, gaps } = useMemo(
    () => ({ counts: arrivals(log.frames, SLICES), gaps: gapFigures(log.frames) }),
    [log, version],
  );
  const { totals } = log;
  if (totals.frames === 0) return null;
  const highest = Math.max(1, ...counts);
  return (
    <div className="totals">
      <dl>
        <div>
          <dt>Frames</dt>
          <dd data-testid="frame-count">{totals.frames.toLocaleString("en")}</dd>
        </div>
        <div title="Reads of the response body in the browser. Frames of one read came together; a browser may join what arrives within a few milliseconds.">
          <dt>Reads</dt>
          <dd>{totals.reads.toLocaleString("en")}</dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>{formatBytes(totals.bytes)}</dd>
        </div>
        {gaps && (
          <div title="Time between frames: median and 99th percentile">
            <dt>Gap p50 / p99</dt>
            <dd>
              {formatMs(gaps.p50)} / {formatMs(gaps.p99)}
            </dd>
          </div>
        )}
      </dl>
      <svg className="strip" viewBox={`0 0 ${SLICES} 20`} preserveAspectRatio="none" role="img" aria-label="Frames over time">
        {counts.map((count, index) => {
          const height = count === 0 ? 0.6 : 2 + (count / highest) * 18;
          return <rect key={index} x={index + 0.12} width={0.76} y={20 - height} height={height} rx={0.2} className={count === 0 ? "none" : ""} />;
        })}
      </svg>
      {totals.dropped > 0 && <p className="field-hint">The oldest {totals.dropped.toLocaleString("en")} frames were let go.</p>}
    </div>
  );
}

function FrameDetail({ frame, onClose }: { frame: LoggedFrame; onClose: () => void }) {
  const pretty = useMemo(() => prettyJson(frame.data), [frame.data]);
  const [raw, setRaw] = useState(false);
  const showRaw = raw || pretty === null;
  const text = showRaw ? visibleEnds(frame.raw) : pretty;
  return (
    <section className="frame-detail" aria-label={`Frame ${frame.number}`}>
      <header>
        <h3>
          Frame {frame.number}
          <span>
            read {frame.read + 1} · {formatMs(frame.atMs)} · {formatBytes(frame.size)}
            {frame.id && ` · id ${frame.id}`}
          </span>
        </h3>
        {pretty !== null && (
          <button type="button" className="text-button compact" aria-pressed={raw} onClick={() => setRaw(!raw)}>
            {raw ? "JSON" : "Raw"}
          </button>
        )}
        <CopyButton text={() => (showRaw ? frame.raw : (pretty ?? ""))} label="Copy this frame" compact />
        <IconButton icon="close" label="Close the frame" onClick={onClose} />
      </header>
      <pre tabIndex={0} aria-label={showRaw ? "Raw text" : "JSON"} data-testid="frame-detail">
        <code>{showRaw ? text : <Highlighted code={text} language="json" />}</code>
      </pre>
    </section>
  );
}

function prettyJson(data: string): string | null {
  try {
    return JSON.stringify(JSON.parse(data), null, 2);
  } catch {
    return null;
  }
}

/** Line ends are what frames are made of: show them. */
function visibleEnds(raw: string): string {
  return raw.replace(/\r\n|\r|\n/g, (end) => `${end === "\n" ? "␊" : end === "\r" ? "␍" : "␍␊"}\n`);
}
