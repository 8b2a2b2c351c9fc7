/** The small dialogs: API key, request as code, keyboard shortcuts. */
import { useState } from "react";
import { apiUrl } from "../lib/api";
import { LANGUAGES, type Language, snippet } from "../lib/snippets";
import type { ChatRequest } from "../lib/state";
import { Highlighted } from "./CodeBlock";
import { CopyButton, Dialog } from "./controls";

export function KeyDialog({ onSave, onClose }: { onSave: (key: string) => void; onClose: () => void }) {
  const [key, setKey] = useState("");
  return (
    <Dialog title="This server asks for a key" onClose={onClose}>
      <form
        className="key-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) onSave(key.trim());
        }}
      >
        <p>
          Enter an API key of this streamward server. The server's operator makes one with <code>streamward keys create</code>.
        </p>
        <div className="field">
          <label htmlFor="api-key">API key</label>
          <input id="api-key" type="password" autoComplete="off" data-autofocus value={key} onChange={(event) => setKey(event.target.value)} />
          <p className="field-hint">Kept in this tab only, sent to this server only, and forgotten when the tab closes.</p>
        </div>
        <div className="row-actions">
          <button type="button" className="button" onClick={onClose}>
            Not now
          </button>
          <button type="submit" className="button primary" disabled={key.trim() === ""}>
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function CodeDialog({ request, onClose }: { request: ChatRequest; onClose: () => void }) {
  const [language, setLanguage] = useState<Language>("curl");
  const current = LANGUAGES.find((item) => item.id === language);
  const code = snippet(language, request, apiUrl("v1"));
  return (
    <Dialog title="This request as code" onClose={onClose} className="wide">
      <div className="code-tabs">
        <div className="segmented">
          {LANGUAGES.map((item) => (
            <label key={item.id}>
              <input type="radio" name="language" checked={item.id === language} onChange={() => setLanguage(item.id)} />
              <span>{item.label}</span>
            </label>
          ))}
        </div>
        <CopyButton text={() => code} label={`Copy as ${current?.label ?? language}`} />
      </div>
      <pre className="snippet" tabIndex={0} aria-label="Code" data-testid="snippet">
        <code>
          <Highlighted code={code} language={current?.syntax ?? ""} />
        </code>
      </pre>
    </Dialog>
  );
}

const SHORTCUTS: [string, string][] = [
  ["Enter", "Send the message"],
  ["Shift + Enter", "New line"],
  ["Escape", "Stop the answer or call"],
  ["Ctrl + Enter", "Call the function"],
  ["/", "Go to the message field"],
  ["Alt + N", "New chat"],
  ["Alt + I", "Frame inspector"],
  ["Alt + C", "Request as code"],
  ["Alt + S", "Settings"],
  ["Alt + 1 / 2", "Chat / Functions"],
  ["?", "This list"],
];

export function ShortcutsDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl className="shortcuts">
        {SHORTCUTS.map(([keys, text]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
