/** The settings dialog: what goes into each request, the API key, the theme. Every change holds at once. */
import { useId } from "react";
import { DEFAULT_SETTINGS, parseTools, type Settings } from "../lib/state";
import type { Theme } from "../lib/useTheme";
import { Dialog } from "./controls";

interface Props {
  settings: Settings;
  onChange: (settings: Settings) => void;
  apiKey: string;
  onKey: (key: string) => void;
  theme: Theme;
  onTheme: (theme: Theme) => void;
  onClose: () => void;
}

export function SettingsDialog({ settings, onChange, apiKey, onKey, theme, onTheme, onClose }: Props) {
  const id = useId();
  const set = (part: Partial<Settings>) => onChange({ ...settings, ...part });
  const tools = parseTools(settings.tools);
  return (
    <Dialog title="Settings" onClose={onClose} className="drawer">
      <div className="field">
        <label htmlFor={`${id}-system`}>System prompt</label>
        <textarea
          id={`${id}-system`}
          rows={4}
          value={settings.system}
          placeholder="How the model should behave. Empty: none is sent."
          onChange={(event) => set({ system: event.target.value })}
        />
      </div>
      <Temperature value={settings.temperature} onChange={(temperature) => set({ temperature })} />
      <div className="field">
        <label htmlFor={`${id}-max`}>Max tokens</label>
        <input
          id={`${id}-max`}
          type="number"
          min={1}
          step={1}
          inputMode="numeric"
          value={settings.maxTokens ?? ""}
          placeholder="Model default"
          onChange={(event) => set({ maxTokens: positiveInteger(event.target.value) })}
        />
      </div>
      <div className="field">
        <label className="switch">
          <input type="checkbox" role="switch" checked={settings.toolsOn} onChange={(event) => set({ toolsOn: event.target.checked })} />
          <span>Offer tools to the model</span>
        </label>
        {settings.toolsOn && (
          <>
            <textarea
              className="mono"
              rows={10}
              aria-label="Tools, as JSON"
              aria-invalid={!tools.ok}
              aria-describedby={tools.ok ? undefined : `${id}-tools-error`}
              spellCheck={false}
              value={settings.tools}
              onChange={(event) => set({ tools: event.target.value })}
            />
            {!tools.ok && (
              <p className="field-error" id={`${id}-tools-error`}>
                {tools.message} No tools are sent until this is fixed.
              </p>
            )}
          </>
        )}
      </div>
      <div className="field">
        <label htmlFor={`${id}-key`}>API key of this server</label>
        <input
          id={`${id}-key`}
          type="password"
          autoComplete="off"
          value={apiKey}
          placeholder="Not needed on this machine by default"
          onChange={(event) => onKey(event.target.value.trim())}
        />
        <p className="field-hint">Kept in this tab only, and forgotten when it closes.</p>
      </div>
      <fieldset className="field segmented">
        <legend>Theme</legend>
        {(["auto", "light", "dark"] as const).map((name) => (
          <label key={name}>
            <input type="radio" name={`${id}-theme`} checked={theme === name} onChange={() => onTheme(name)} />
            <span>{name[0]?.toUpperCase() + name.slice(1)}</span>
          </label>
        ))}
      </fieldset>
      <div className="row-actions">
        <button type="button" className="button" onClick={() => onChange({ ...DEFAULT_SETTINGS, model: settings.model })}>
          Reset to defaults
        </button>
      </div>
    </Dialog>
  );
}

/** A slider cannot be empty, so a switch says whether the field is sent at all. */
function Temperature({ value, onChange }: { value: number | null; onChange: (value: number | null) => void }) {
  const id = useId();
  return (
    <div className="field">
      <div className="field-head">
        <label htmlFor={id}>Temperature</label>
        <label className="switch small">
          <input type="checkbox" role="switch" checked={value !== null} onChange={(event) => onChange(event.target.checked ? 1 : null)} />
          <span>{value === null ? "Model default" : value.toFixed(1)}</span>
        </label>
      </div>
      <input
        id={id}
        type="range"
        min={0}
        max={2}
        step={0.1}
        value={value ?? 1}
        disabled={value === null}
        onChange={(event) => onChange(Number(event.target.value))}
      />
    </div>
  );
}

function positiveInteger(text: string): number | null {
  const value = Math.floor(Number(text));
  return text !== "" && value > 0 ? value : null;
}
