/** The list of frames, windowed: only the rows in view exist, so fifty thousand frames cost as much as fifty. */
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { describeFrame, isErrorFrame, type LoggedFrame } from "../lib/frames";
import { formatBytes, formatMs } from "../lib/metrics";

const ROW_PX = 28;
/** Rows kept ready above and below, so that quick scrolling shows no gap. */
const OVERSCAN = 8;

interface Props {
  frames: readonly LoggedFrame[];
  selected: number | null;
  onSelect: (number: number) => void;
}

export function FrameList({ frames, selected, onSelect }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 400 });
  const following = useRef(true);
  const [active, setActive] = useState(0);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setScroll((old) => ({ ...old, height: element.clientHeight })));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // Stay at the newest frame, unless the reader scrolled away.
  useLayoutEffect(() => {
    const element = box.current;
    if (element && following.current) element.scrollTop = element.scrollHeight;
  }, [frames.length]);

  // Opening a frame's detail makes the list shorter: the frame itself stays in view.
  useLayoutEffect(() => {
    const element = box.current;
    const index = frames.findIndex((frame) => frame.number === selected);
    if (!element || index < 0) return;
    following.current = false;
    const bottom = (index + 1) * ROW_PX - scroll.height;
    if (element.scrollTop < bottom) element.scrollTop = bottom;
  }, [selected, scroll.height]);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    // Only who moves up stops following: far from the end may as well mean that frames outran this event.
    if (element.scrollTop + element.clientHeight >= element.scrollHeight - ROW_PX) following.current = true;
    else if (element.scrollTop < scroll.top) following.current = false;
    setScroll({ top: element.scrollTop, height: element.clientHeight });
  };

  const move = (to: number) => {
    const element = box.current;
    const index = Math.max(0, Math.min(frames.length - 1, to));
    setActive(index);
    if (!element) return;
    following.current = false;
    if (index * ROW_PX < element.scrollTop) element.scrollTop = index * ROW_PX;
    const bottom = (index + 1) * ROW_PX - element.clientHeight;
    if (element.scrollTop < bottom) element.scrollTop = bottom;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(scroll.height / ROW_PX) - 1);
    const moves: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: frames.length - 1,
    };
    const target = moves[event.key];
    const frame = frames[active];
    if (target !== undefined) move(target);
    else if ((event.key === "Enter" || event.key === " ") && frame) onSelect(frame.number);
    else return;
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(scroll.top / ROW_PX) - OVERSCAN);
  const last = Math.min(frames.length, Math.ceil((scroll.top + scroll.height) / ROW_PX) + OVERSCAN);
  const rowId = (index: number) => `frame-row-${index}`;
  const activeInView = active >= first && active < last;
  return (
    <>
      <div className="frame-columns" aria-hidden="true">
        <span>#</span>
        <span>Time</span>
        <span>Gap</span>
        <span>Size</span>
        <span>Frame</span>
      </div>
      <div
        ref={box}
        className="frame-list"
        role="listbox"
        tabIndex={0}
        aria-label="Frames"
        aria-activedescendant={activeInView ? rowId(active) : undefined}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
      >
        <div className="frame-space" role="presentation" style={{ height: frames.length * ROW_PX }}>
          {frames.slice(first, last).map((frame, offset) => {
            const index = first + offset;
            return (
              <div
                key={frame.number}
                id={rowId(index)}
                role="option"
                aria-selected={frame.number === selected}
                aria-posinset={index + 1}
                aria-setsize={frames.length}
                data-active={index === active || undefined}
                data-first-of-read={frame.firstOfRead || undefined}
                className={`frame-row frame-${isErrorFrame(frame) ? "error" : frame.kind}`}
                style={{ top: index * ROW_PX }}
                title={frame.firstOfRead ? `Read ${frame.read + 1} of the response body begins here` : undefined}
                onClick={() => {
                  setActive(index);
                  onSelect(frame.number);
                }}
              >
                <span>{frame.number}</span>
                <span>{formatMs(frame.atMs)}</span>
                <span>{frame.gapMs < 0.05 ? "–" : `+${formatMs(frame.gapMs)}`}</span>
                <span>{formatBytes(frame.size)}</span>
                <span className="frame-preview">{preview(frame)}</span>
              </div>
            );
          })}
        </div>
      </div>
    </>
  );
}

const previews = new WeakMap<LoggedFrame, string>();

function preview(frame: LoggedFrame): string {
  let text = previews.get(frame);
  if (text === undefined) {
    text = describeFrame(frame).slice(0, 300);
    previews.set(frame, text);
  }
  return text;
}
