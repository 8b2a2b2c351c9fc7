/** The turns of the conversation: user messages with editing, assistant replies with everything known about them. */
import { memo, useEffect, useRef, useState } from "react";
import { adviceFor } from "../lib/advice";
import { modelNote } from "../lib/models";
import type { AssistantTurn, UserTurn } from "../lib/state";
import { CopyButton } from "./controls";
import { EndingBanner } from "./EndingBanner";
import { Icon } from "./icons";
import { Markdown } from "./Markdown";
import { ReplyFigures } from "./ReplyFigures";
import { ToolCalls } from "./ToolCalls";

interface UserProps {
  turn: UserTurn;
  /** Only the last one can be edited, and only while nothing runs. */
  onEdit: ((turnId: string, text: string) => void) | null;
}

export const UserMessage = memo(function UserMessage({ turn, onEdit }: UserProps) {
  const [draft, setDraft] = useState<string | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const edit = useRef<HTMLButtonElement>(null);
  const editing = draft !== null && onEdit !== null;
  useEffect(() => {
    const field = area.current;
    if (!editing || !field) return;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }, [editing]);

  if (editing) {
    const cancel = () => {
      setDraft(null);
      requestAnimationFrame(() => edit.current?.focus());
    };
    const save = () => {
      if (draft.trim() === "") return;
      setDraft(null);
      onEdit(turn.id, draft);
    };
    return (
      <li className="turn turn-user editing">
        <textarea
          ref={area}
          aria-label="Edit your message"
          dir="auto"
          value={draft}
          rows={Math.min(10, draft.split("\n").length + 1)}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") {
              event.stopPropagation();
              cancel();
            } else if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
              event.preventDefault();
              save();
            }
          }}
        />
        <div className="row-actions">
          <button type="button" className="button" onClick={cancel}>
            Cancel
          </button>
          <button type="button" className="button primary" onClick={save} disabled={draft.trim() === ""}>
            Send again
          </button>
        </div>
      </li>
    );
  }
  return (
    <li className="turn turn-user">
      <h3 className="sr-only">You</h3>
      <div className="bubble">{turn.text}</div>
      {onEdit && (
        <button type="button" ref={edit} className="text-button quiet" onClick={() => setDraft(turn.text)}>
          <Icon name="edit" size={15} />
          Edit
        </button>
      )}
    </li>
  );
});

interface AssistantProps {
  turn: AssistantTurn;
  last: boolean;
  onRetry: (turnId: string) => void;
  onToolResults: (turnId: string, results: Record<number, string>) => void;
  onEnterKey: () => void;
}

export const AssistantMessage = memo(function AssistantMessage(props: AssistantProps) {
  const { turn, last, onRetry, onToolResults, onEnterKey } = props;
  const { reply } = turn;
  const running = reply.ending === null;
  const note = modelNote(turn.model);
  const text = reply.text || reply.refusal;
  const retryShown = reply.ending !== null && adviceFor(reply.ending)?.retry === true;
  const waiting = running && !text && !reply.reasoning && reply.tools.length === 0;
  return (
    <li className="turn turn-assistant" aria-busy={running}>
      <div className="turn-head">
        <h3>{turn.model}</h3>
        {note && (
          <span className={`badge badge-${note.kind}`} title={note.text}>
            {note.label}
          </span>
        )}
      </div>
      {reply.reasoning && <Reasoning text={reply.reasoning} live={running && !text} />}
      {waiting && (
        <p className="waiting">
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <span className="sr-only">Waiting for the first token</span>
        </p>
      )}
      {text && (
        <div className={running ? "reply-text growing" : "reply-text"} data-testid="reply-text">
          <Markdown text={text} />
        </div>
      )}
      {reply.tools.length > 0 && <ToolCalls turn={turn} last={last} onResults={onToolResults} />}
      {reply.reconnecting && (
        <p className="reconnecting" role="status" data-testid="reconnecting">
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          The connection broke. Going on where it stopped…
        </p>
      )}
      {reply.ending && <EndingBanner ending={reply.ending} last={last} onRetry={() => onRetry(turn.id)} onEnterKey={onEnterKey} />}
      <div className="turn-foot">
        <ReplyFigures reply={reply} />
        {!running && (
          <div className="row-actions">
            {text && <CopyButton text={() => text} label="Copy the answer" compact />}
            {last && !retryShown && (
              <button type="button" className="text-button compact" onClick={() => onRetry(turn.id)}>
                <Icon name="retry" size={15} />
                Regenerate
              </button>
            )}
          </div>
        )}
      </div>
    </li>
  );
});

/** Open while the model thinks and says nothing yet; afterwards as the reader left it. */
function Reasoning({ text, live }: { text: string; live: boolean }) {
  const [chosen, setChosen] = useState<boolean | null>(null);
  const open = chosen ?? live;
  return (
    <details className="reasoning" open={open}>
      <summary
        onClick={(event) => {
          event.preventDefault();
          setChosen(!open);
        }}
      >
        <Icon name="thought" size={16} />
        {live ? "Thinking…" : "Reasoning"}
        <Icon name="chevron" size={15} />
      </summary>
      <div className="reasoning-text">{text}</div>
    </details>
  );
}
