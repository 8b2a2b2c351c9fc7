/** The chat: turns, composer, and the inspector beside them. */
import { useCallback, useEffect, useRef } from "react";
import { modelNote } from "../lib/models";
import { useStored } from "../lib/stored";
import { useFollow } from "../lib/useFollow";
import type { Session } from "../lib/useSession";
import { Announcer } from "./Announcer";
import { Composer } from "./Composer";
import { EmptyState } from "./EmptyState";
import { Icon } from "./icons";
import { Inspector } from "./Inspector";
import { AssistantMessage, UserMessage } from "./Turns";

export function ChatView({ session }: { session: Session }) {
  const { chat, settings, models } = session;
  const { turns, running } = chat.state;
  const [draft, setDraft] = useStored(sessionStorage, "draft", ""); // outlives a look at the other view
  const input = useRef<HTMLTextAreaElement>(null);
  const { box: scroller, away, onScroll, toEnd } = useFollow<HTMLDivElement>(turns.length === 0 ? null : chat.state);

  useEffect(() => {
    // Not on phones, where focus opens the keyboard over the page.
    if (turns.length === 0 && matchMedia("(hover: hover)").matches) input.current?.focus();
  }, [turns.length]);

  const send = useCallback(
    (text: string) => {
      chat.begin({ type: "send", text: text.trim() });
      setDraft("");
      toEnd();
      input.current?.focus();
    },
    [chat.begin, toEnd],
  );
  const onEdit = useCallback((turnId: string, text: string) => chat.begin({ type: "edit", turnId, text }), [chat.begin]);
  const onRetry = useCallback(
    (turnId: string) => {
      chat.begin({ type: "retry", turnId });
      input.current?.focus(); // the button goes away with the reply it stood under
    },
    [chat.begin],
  );
  const onToolResults = useCallback(
    (turnId: string, results: Record<number, string>) => {
      chat.begin({ type: "tool_results", turnId, results });
      input.current?.focus();
    },
    [chat.begin],
  );
  const onEnterKey = useCallback(() => session.setDialog("key"), [session.setDialog]);

  const lastTurn = turns.at(-1);
  const lastUser = turns.findLast((turn) => turn.role === "user");
  const note = modelNote(settings.model);
  return (
    <div className={session.inspectorOpen ? "view with-inspector" : "view"}>
      <main className="chat">
        <div className="scroller" ref={scroller} onScroll={onScroll}>
          {models.kind === "failed" && <ModelsFailed session={session} />}
          {turns.length === 0 ? (
            <EmptyState model={settings.model} onPick={send} />
          ) : (
            <>
              <h2 className="sr-only">Conversation</h2>
              <ol className="turns">
                {turns.map((turn) =>
                  turn.role === "user" ? (
                    <UserMessage key={turn.id} turn={turn} onEdit={turn === lastUser && running === null ? onEdit : null} />
                  ) : (
                    <AssistantMessage
                      key={turn.id}
                      turn={turn}
                      last={turn === lastTurn}
                      onRetry={onRetry}
                      onToolResults={onToolResults}
                      onEnterKey={onEnterKey}
                    />
                  ),
                )}
              </ol>
            </>
          )}
        </div>
        <Announcer turn={lastTurn?.role === "assistant" ? lastTurn : null} />
        <div className="dock">
          {away && turns.length > 0 && (
            <button type="button" className="to-end" onClick={toEnd} aria-label="Go to the newest text">
              <Icon name="down" size={17} />
            </button>
          )}
          <Composer
            inputRef={input}
            value={draft}
            onChange={setDraft}
            onSend={() => send(draft)}
            onStop={chat.stop}
            running={running !== null}
            disabled={settings.model === ""}
          />
          <p className="dock-hint" id="composer-hint">
            {note?.short ?? "Models make mistakes. Check what matters."}
            <SentAlong session={session} />
          </p>
        </div>
      </main>
      {session.inspectorOpen && <Inspector log={session.log} onClose={() => session.setInspectorOpen(false)} />}
    </div>
  );
}

/** Settings outlive a reload: what goes out unseen with each message is said where it is written. */
function SentAlong({ session }: { session: Session }) {
  const { system, toolsOn } = session.settings;
  const along = [...(system.trim() ? ["a system prompt"] : []), ...(toolsOn ? ["tools"] : [])];
  if (along.length === 0) return null;
  return (
    <button type="button" className="dock-link" onClick={() => session.setDialog("settings")}>
      Sent along: {along.join(" and ")}
    </button>
  );
}

function ModelsFailed({ session }: { session: Session }) {
  if (session.models.kind !== "failed") return null;
  const { error } = session.models;
  const needsKey = error.status === 401;
  return (
    <div className="banner banner-error models-failed" role="alert" data-testid="models-failed">
      <Icon name={needsKey ? "key" : "warning"} />
      <div className="banner-text">
        <p className="banner-title">
          {needsKey ? "This server asks for a key" : "The models could not be listed"}
          <code>{error.code}</code>
        </p>
        <p>{error.message}</p>
      </div>
      <div className="banner-actions">
        {needsKey && (
          <button type="button" className="button primary" onClick={() => session.setDialog("key")}>
            Enter key
          </button>
        )}
        <button type="button" className="button" onClick={session.reloadModels}>
          <Icon name="retry" size={16} />
          Retry
        </button>
      </div>
    </div>
  );
}
