/** What goes into a call: method, path parameters, query, headers, body; and the buttons that make it. */
import { useEffect, useId } from "react";
import { apiUrl } from "../../lib/api";
import {
  asCurl, bodyProblem, type Draft, type FunctionRoute, headerProblem, pathParameters, takesBody, takesPathsBelow, target,
} from "../../lib/functions";
import type { Functions } from "../../lib/useFunctions";
import { CopyButton } from "../controls";
import { Icon } from "../icons";
import { Path } from "./FunctionList";
import { PairRows } from "./PairRows";

interface Props {
  route: FunctionRoute;
  draft: Draft;
  functions: Functions;
}

export function CallForm({ route, draft, functions }: Props) {
  const { setDraft, running, send, stop } = functions;
  const id = useId();
  const goal = target(route, draft);
  const wrong = bodyProblem(draft);
  useEffect(() => {
    // Anywhere on the page: who picks a function from the list has not been in the form yet.
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      if (goal.ok && !running) send();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  });
  return (
    <form
      className="call-form"
      aria-label="Call"
      onSubmit={(event) => {
        event.preventDefault();
        if (goal.ok && !running) send();
      }}
    >
      <header className="call-title">
        <h2 id="call-title">
          <Path path={route.path} />
        </h2>
        <p className="muted">
          {route.file}
          {route.maxDuration !== null && ` · at most ${route.maxDuration} s`}
        </p>
      </header>
      <div className="call-line">
        <select aria-label="Method" value={draft.method} onChange={(event) => setDraft({ method: event.target.value })}>
          {route.methods.map((method) => (
            <option key={method}>{method}</option>
          ))}
        </select>
        <output className={goal.ok ? "call-url" : "call-url missing"} data-testid="call-url" aria-live="polite">
          {goal.ok ? goal.path : goal.missing}
        </output>
        {goal.ok && <CopyButton text={() => asCurl(apiUrl(goal.path.slice(1)), draft)} label="Copy as curl" name="curl" compact />}
        {running ? (
          <button type="button" className="button stop" onClick={stop} aria-keyshortcuts="Escape" title="Stop (Escape)">
            <Icon name="stop" size={16} />
            Stop
          </button>
        ) : (
          <button type="submit" className="button primary" disabled={!goal.ok} title="Call (Ctrl + Enter)">
            <Icon name="send" size={16} />
            Call
          </button>
        )}
      </div>
      <div className="call-fields">
        {pathParameters(route.path).map(({ name, many, optional }) => (
          <div className="call-field" key={name}>
            <label htmlFor={`${id}-${name}`}>{name}</label>
            <input
              id={`${id}-${name}`}
              value={draft.parameters[name] ?? ""}
              placeholder={many ? `one/or/more segments${optional ? ", or none" : ""}` : "value"}
              autoComplete="off"
              spellCheck={false}
              onChange={(event) => setDraft({ parameters: { ...draft.parameters, [name]: event.target.value } })}
            />
          </div>
        ))}
        {takesPathsBelow(route) && (
          <div className="call-field">
            <label htmlFor={`${id}-below`}>Path below</label>
            <input
              id={`${id}-below`}
              value={draft.below}
              placeholder={`empty, or what follows ${route.path}/`}
              autoComplete="off"
              spellCheck={false}
              onChange={(event) => setDraft({ below: event.target.value })}
            />
          </div>
        )}
        <PairRows label="Query" one="query parameter" pairs={draft.query} onChange={(query) => setDraft({ query })} />
        <PairRows label="Headers" one="header" pairs={draft.headers} problem={headerProblem} onChange={(headers) => setDraft({ headers })} />
        {takesBody(draft.method) && (
          <div className="call-field">
            <label htmlFor={`${id}-body`}>Body</label>
            <div>
              <textarea
                id={`${id}-body`}
                className="mono"
                rows={Math.min(12, Math.max(3, draft.body.split("\n").length))}
                value={draft.body}
                spellCheck={false}
                placeholder={'{"name": "value"}'}
                aria-invalid={wrong !== null}
                aria-describedby={wrong === null ? undefined : `${id}-body-problem`}
                onChange={(event) => setDraft({ body: event.target.value })}
              />
              {wrong !== null && (
                <p className="field-error" id={`${id}-body-problem`}>
                  {wrong}. It is sent as it is; for another type, set the content-type header.
                </p>
              )}
            </div>
          </div>
        )}
      </div>
    </form>
  );
}
