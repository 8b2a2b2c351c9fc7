/** Names with values, a row each: query parameters, headers. */
import { useEffect, useRef } from "react";
import type { Pair } from "../../lib/functions";
import { IconButton } from "../controls";
import { Icon } from "../icons";

interface Props {
  label: string;
  /** What one row is called. */
  one: string;
  pairs: readonly Pair[];
  problem?: (pair: Pair) => string | null;
  onChange: (pairs: Pair[]) => void;
}

export function PairRows({ label, one, pairs, problem, onChange }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const count = useRef(pairs.length);
  useEffect(() => {
    // A new row is there to be typed into.
    if (pairs.length > count.current) box.current?.querySelector<HTMLElement>(".pair:last-of-type input")?.focus();
    count.current = pairs.length;
  }, [pairs.length]);
  const set = (id: number, part: Partial<Pair>) => onChange(pairs.map((pair) => (pair.id === id ? { ...pair, ...part } : pair)));
  const add = () => onChange([...pairs, { id: Math.max(0, ...pairs.map((pair) => pair.id)) + 1, name: "", value: "" }]);
  return (
    <div className="call-field" role="group" aria-label={label}>
      <span className="call-label">{label}</span>
      <div ref={box}>
        {pairs.map((pair, index) => {
          const wrong = problem?.(pair) ?? null;
          const title = `${one} ${index + 1}`;
          return (
            <div className="pair" key={pair.id}>
              <input
                aria-label={`Name of ${title}`}
                placeholder="name"
                autoComplete="off"
                spellCheck={false}
                value={pair.name}
                aria-invalid={wrong !== null}
                onChange={(event) => set(pair.id, { name: event.target.value })}
              />
              <input
                aria-label={`Value of ${title}`}
                placeholder="value"
                autoComplete="off"
                spellCheck={false}
                value={pair.value}
                onChange={(event) => set(pair.id, { value: event.target.value })}
              />
              <IconButton icon="close" label={`Remove ${title}`} onClick={() => onChange(pairs.filter((other) => other.id !== pair.id))} />
              {wrong !== null && <p className="field-error">{wrong}</p>}
            </div>
          );
        })}
        <button type="button" className="text-button compact add" onClick={add}>
          <Icon name="plus" size={14} />
          Add {one}
        </button>
      </div>
    </div>
  );
}
