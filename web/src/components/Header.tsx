/** The bar at the top: brand, views, and for the chat its model picker and actions. */
import { NEXT_THEME, type Theme } from "../lib/useTheme";
import type { Session } from "../lib/useSession";
import { VIEWS } from "../views";
import { IconButton } from "./controls";
import { type IconName, Logo } from "./icons";
import { ModelPicker } from "./ModelPicker";

const THEME_ICON: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };

export function Header({ session }: { session: Session }) {
  const { models, settings, theme, chat, view: shown } = session;
  const chatting = shown === "chat";
  return (
    <header className="header">
      <h1 className="brand">
        <Logo />
        <span>streamward</span>
      </h1>
      <nav className="views" aria-label="Views">
        {VIEWS.map((view) => (
          <button key={view.id} type="button" aria-current={view.id === shown ? "page" : undefined} onClick={() => session.setView(view.id)}>
            {view.label}
          </button>
        ))}
      </nav>
      {chatting && (models.kind === "ready" ? (
        <ModelPicker
          models={models.models}
          value={settings.model}
          onChange={(model) => session.setSettings((old) => ({ ...old, model }))}
        />
      ) : (
        <span className="picker-placeholder" role="status">
          {models.kind === "loading" ? "Loading models…" : "No models"}
        </span>
      ))}
      <div className="header-actions" role="toolbar" aria-label="Actions">
        {chatting && (
          <>
            <IconButton
              icon="plus"
              label="New chat"
              text="New chat"
              shortcut="Alt+N"
              onClick={chat.clear}
              disabled={chat.state.turns.length === 0}
            />
            <IconButton icon="code" label="Request as code" text="Code" shortcut="Alt+C" onClick={() => session.setDialog("code")} />
            <IconButton
              icon="frames"
              label="Frame inspector"
              text="Frames"
              shortcut="Alt+I"
              pressed={session.inspectorOpen}
              onClick={() => session.setInspectorOpen((open) => !open)}
            />
          </>
        )}
        <IconButton
          icon={THEME_ICON[theme]}
          label={`Theme: ${theme}. Change to ${NEXT_THEME[theme]}`}
          className="wide-only"
          onClick={() => session.setTheme(NEXT_THEME[theme])}
        />
        <IconButton icon="settings" label="Settings" shortcut="Alt+S" onClick={() => session.setDialog("settings")} />
      </div>
    </header>
  );
}
