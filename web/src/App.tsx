/** The frame of the page: header, the current view, dialogs, keyboard shortcuts. */
import { useEffect, useRef } from "react";
import { CodeDialog, KeyDialog, ShortcutsDialog } from "./components/Dialogs";
import { Header } from "./components/Header";
import { SettingsDialog } from "./components/Settings";
import { chatRequest } from "./lib/state";
import { type Session, useSession } from "./lib/useSession";
import { VIEWS } from "./views";

export function App() {
  const session = useSession();
  const { Component } = VIEWS.find((view) => view.id === session.view) ?? VIEWS[0];
  useShortcuts(session);
  return (
    <div className="app">
      {session.view === "chat" && (
        <a
          className="skip-link"
          href="#composer"
          onClick={(event) => {
            event.preventDefault(); // the address is the view's
            document.getElementById("composer")?.focus();
          }}
        >
          Skip to the message field
        </a>
      )}
      <Header session={session} />
      <Component session={session} />
      <Dialogs session={session} />
    </div>
  );
}

function Dialogs({ session }: { session: Session }) {
  const { dialog, setDialog, chat, settings } = session;
  const close = () => setDialog(null);
  switch (dialog) {
    case "settings":
      return (
        <SettingsDialog
          settings={settings}
          onChange={session.setSettings}
          apiKey={session.apiKey}
          onKey={session.setApiKey}
          theme={session.theme}
          onTheme={session.setTheme}
          onClose={close}
        />
      );
    case "key":
      return (
        <KeyDialog
          onClose={close}
          onSave={(key) => {
            session.setApiKey(key);
            session.reloadModels();
            close();
          }}
        />
      );
    case "code":
      return <CodeDialog request={chat.lastRequest ?? exampleRequest(session)} onClose={close} />;
    case "shortcuts":
      return <ShortcutsDialog onClose={close} />;
    case null:
      return null;
  }
}

/** Before anything was sent there is still a request to show: the settings, with a first question. */
function exampleRequest({ chat, settings }: Session) {
  const turns = chat.state.turns.length > 0 ? chat.state.turns : [{ id: "example", role: "user" as const, text: "Hello!" }];
  return chatRequest(turns, settings);
}

function useShortcuts(current: Session) {
  const latest = useRef(current);
  latest.current = current;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const session = latest.current;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey) return;
      // By the key's place, since Alt types other letters on some systems.
      const chatKeys: Record<string, () => void> = {
        KeyI: () => session.setInspectorOpen((open) => !open),
        KeyN: () => session.chat.clear(),
        KeyC: () => session.setDialog("code"),
      };
      const byAlt: Record<string, () => void> = {
        KeyS: () => session.setDialog("settings"),
        Digit1: () => session.setView("chat"),
        Digit2: () => session.setView("functions"),
        ...(session.view === "chat" ? chatKeys : {}),
      };
      const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
      const modal = document.querySelector("dialog[open]") !== null;
      if (modal) return;
      if (event.altKey && byAlt[event.code]) byAlt[event.code]?.();
      else if (event.altKey) return;
      else if (event.key === "Escape" && session.view === "functions" && session.functions.running) session.functions.stop();
      else if (event.key === "Escape" && session.view === "chat" && session.chat.state.running) session.chat.stop();
      else if (event.key === "/" && !typing) document.getElementById("composer")?.focus();
      else if (event.key === "?" && !typing) session.setDialog("shortcuts");
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}
