/** Tool calls of a reply: name and arguments as they stream, then fields for the results the user plays back. */
import { useId, useState } from "react";
import type { ToolCall } from "../lib/reply";
import type { AssistantTurn } from "../lib/state";
import { Highlighted } from "./CodeBlock";
import { Icon } from "./icons";

interface Props {
  turn: AssistantTurn;
  last: boolean;
  onResults: (turnId: string, results: Record<number, string>) => void;
}

export function ToolCalls({ turn, last, onResults }: Props) {
  const [results, setResults] = useState<Record<number, string>>({});
  const { reply } = turn;
  const running = reply.ending === null;
  const asking = last && reply.ending?.kind === "finished";
  return (
    <form
      className="tools"
      onSubmit={(event) => {
        event.preventDefault();
        onResults(turn.id, results);
      }}
    >
      {reply.tools.map((call) => (
        <section key={call.index} className="tool" aria-label={`Tool call ${call.name}`} data-testid="tool-call">
          <header>
            <Icon name="tool" size={16} />
            <strong>{call.name || "…"}</strong>
            {call.id && <span className="tool-id">{call.id}</span>}
          </header>
          <pre tabIndex={0} aria-label={`Arguments of ${call.name}`} className={running ? "growing" : undefined}>
            <code>
              <Highlighted code={running ? call.arguments : pretty(call.arguments)} language="json" />
            </code>
          </pre>
          {asking ? (
            <ResultField call={call} value={results[call.index] ?? ""} onChange={(text) => setResults({ ...results, [call.index]: text })} />
          ) : (
            turn.results[call.index] && <p className="tool-result">{turn.results[call.index]}</p>
          )}
        </section>
      ))}
      {asking && (
        <div className="row-actions">
          <button type="submit" className="button primary">
            Send {reply.tools.length > 1 ? "results" : "result"} to the model
          </button>
        </div>
      )}
    </form>
  );
}

function ResultField({ call, value, onChange }: { call: ToolCall; value: string; onChange: (text: string) => void }) {
  const id = useId();
  return (
    <div className="tool-answer">
      <label htmlFor={id}>Result of {call.name}</label>
      <textarea
        id={id}
        rows={2}
        value={value}
        spellCheck={false}
        placeholder="You play the tool: type what it returns"
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  );
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
