/** The body read by read: when each came, how large it was, what it said. Only the rows in view exist. */
import { useEffect, useRef, useState } from "react";
import type { CallRun } from "../../lib/callRun";
import { formatBytes, formatMs } from "../../lib/metrics";

const ROW_PX = 26;
const OVERSCAN = 8;

export function CallReads({ run }: { run: CallRun }) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 300 });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setView((old) => ({ ...old, height: element.clientHeight })));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const { reads } = run;
  if (reads.length === 0) return <p className="answer-empty">No read yet.</p>;
  const first = Math.max(0, Math.floor(view.top / ROW_PX) - OVERSCAN);
  const last = Math.min(reads.length, Math.ceil((view.top + view.height) / ROW_PX) + OVERSCAN);
  return (
    <>
      <div
        ref={box}
        className="answer-scroll reads"
        tabIndex={0}
        role="region"
        aria-label="Reads of the body"
        data-testid="call-read-list"
        onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
      >
        <div className="frame-space" style={{ height: reads.length * ROW_PX }}>
          {reads.slice(first, last).map((read, offset) => (
            <div key={read.number} className="read-row" style={{ top: (first + offset) * ROW_PX }}>
              <span>{formatMs(read.atMs)}</span>
              <span>{formatBytes(read.size)}</span>
              <span className="read-text">{run.textual ? visible(read.text) : ""}</span>
            </div>
          ))}
        </div>
      </div>
      <p className="answer-note">A browser may join what arrives within a few milliseconds.</p>
    </>
  );
}

function visible(text: string): string {
  return text.replaceAll("\n", "␊").replaceAll("\r", "␍");
}
