/** The functions view when there is nothing to call: none found, or not ours to see. */
import { type ReactNode, useState } from "react";
import type { FunctionProblem } from "../../lib/functions";
import type { Functions } from "../../lib/useFunctions";
import { Highlighted } from "../CodeBlock";
import { CopyButton } from "../controls";
import { Icon, type IconName } from "../icons";

const FIRST_FUNCTION = `# api/hello.py
import asyncio


async def GET(request):
    for word in ("Hello", ", ", "world"):
        print("sending", word)
        yield word
        await asyncio.sleep(0.3)
`;

export function NoFunctions({ problems, onReload }: { problems: readonly FunctionProblem[]; onReload: () => void }) {
  return (
    <State icon="code" title="No functions yet">
      <p>
        Save a Python file in the folder that <code>streamward dev</code> serves. Its path is its URL: this one answers at{" "}
        <code>/api/hello</code>.
      </p>
      <div className="code-block">
        <div className="code-head">
          <span>api/hello.py</span>
          <CopyButton text={() => FIRST_FUNCTION} label="Copy api/hello.py" compact />
        </div>
        <pre tabIndex={0} aria-label="A first function">
          <code>
            <Highlighted code={FIRST_FUNCTION} language="python" />
          </code>
        </pre>
      </div>
      <Problems problems={problems} />
      <button type="button" className="button primary" onClick={onReload}>
        <Icon name="retry" size={16} />
        Look again
      </button>
    </State>
  );
}

export function Problems({ problems }: { problems: readonly FunctionProblem[] }) {
  if (problems.length === 0) return null;
  return (
    <section className="problems" aria-label="Problems" data-testid="problems">
      <h3>
        <Icon name="warning" size={15} />
        {problems.length === 1 ? "1 problem" : `${problems.length} problems`}
      </h3>
      <ul>
        {problems.map((problem) => (
          <li key={`${problem.file}:${problem.line}:${problem.code}`}>
            <code>
              {problem.file}:{problem.line}
            </code>
            <span>{problem.message}</span>
            <small>{problem.code}</small>
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Refused({ status, functions }: { status: number; functions: Functions }) {
  const again = (
    <button type="button" className="button" onClick={functions.reload}>
      <Icon name="retry" size={16} />
      Try again
    </button>
  );
  if (status === 401) {
    return (
      <State icon="key" title="The functions are guarded">
        <p>
          This server was started with <code>STREAMWARD_ADMIN_TOKEN</code>, which guards its routes and logs.
        </p>
        <TokenForm wrong={functions.token !== ""} onSave={functions.setToken} />
      </State>
    );
  }
  if (status === 403) {
    return (
      <State icon="key" title="Shown to this machine only">
        <p>
          Routes and logs are shown to callers on the server's own machine. To read them from elsewhere or through a proxy, start
          the server with <code>STREAMWARD_ADMIN_TOKEN</code> set and enter that token here.
        </p>
        {again}
      </State>
    );
  }
  if (status === 404) {
    return (
      <State icon="code" title="This server has no functions">
        <p>
          <code>streamward dev DIR</code> serves the Python functions of a folder beside the models.
        </p>
        {again}
      </State>
    );
  }
  return (
    <State icon="warning" title={status === 0 ? "No answer from the server" : `The list could not be read (HTTP ${status})`}>
      <p>Check that streamward is still running, then try again.</p>
      {again}
    </State>
  );
}

export function TokenForm({ wrong, onSave }: { wrong: boolean; onSave: (token: string) => void }) {
  const [token, setToken] = useState("");
  return (
    <form
      className="token-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim()) onSave(token.trim());
      }}
    >
      <div className="field">
        <label htmlFor="admin-token">Admin token</label>
        <input
          id="admin-token"
          type="password"
          autoComplete="off"
          value={token}
          aria-invalid={wrong}
          aria-describedby="admin-token-hint"
          onChange={(event) => setToken(event.target.value)}
        />
        {wrong && <p className="field-error">The server did not take that token.</p>}
        <p className="field-hint" id="admin-token-hint">
          Kept in this tab only and forgotten when the tab closes. It is not sent to functions.
        </p>
      </div>
      <button type="submit" className="button primary" disabled={token.trim() === ""}>
        Use this token
      </button>
    </form>
  );
}

function State({ icon, title, children }: { icon: IconName; title: string; children: ReactNode }) {
  return (
    <section className="state" aria-labelledby="state-title">
      <span className="state-icon">
        <Icon name={icon} size={24} />
      </span>
      <h2 id="state-title">{title}</h2>
      {children}
    </section>
  );
}
