/** What a screen reader hears of a reply: whole sentences as they complete, never single tokens. */
import { useEffect, useRef, useState } from "react";
import { SentenceSplitter } from "../lib/sentences";
import type { AssistantTurn } from "../lib/state";

interface Line {
  key: number;
  text: string;
}

/** Lines kept in the region; older ones have been read out. */
const KEPT = 6;

export function Announcer({ turn }: { turn: AssistantTurn | null }) {
  const [lines, setLines] = useState<Line[]>([]);
  const progress = useRef<{ id: string; splitter: SentenceSplitter; ended: boolean } | null>(null);
  const count = useRef(0);

  useEffect(() => {
    if (!turn) {
      progress.current = null;
      setLines([]);
      return;
    }
    const { reply, id } = turn;
    if (progress.current?.id !== id) {
      // A reply that was complete when first seen (a restored chat) is not news.
      if (reply.ending) return;
      progress.current = { id, splitter: new SentenceSplitter(), ended: false };
    }
    const current = progress.current;
    if (!current || current.ended) return;
    current.ended = reply.ending !== null;
    const heard = current.ended ? current.splitter.close(reply.text) : current.splitter.feed(reply.text);
    if (reply.ending?.kind === "finished") heard.push(reply.tools.length > 0 ? "The model calls a tool." : "Answer complete.");
    if (heard.length === 0) return;
    const fresh = heard.map((text) => ({ key: count.current++, text }));
    setLines((old) => [...old, ...fresh].slice(-KEPT));
  }, [turn]);

  return (
    <div className="sr-only" aria-live="polite" aria-relevant="additions" data-testid="announcer">
      {lines.map((line) => (
        <p key={line.key}>{line.text}</p>
      ))}
    </div>
  );
}
