/** Where the next message is written: grows with its text; Enter sends, Shift+Enter breaks the line. */
import { type RefObject, useLayoutEffect } from "react";
import { Icon } from "./icons";

interface Props {
  inputRef: RefObject<HTMLTextAreaElement | null>;
  value: string;
  onChange: (text: string) => void;
  onSend: () => void;
  onStop: () => void;
  running: boolean;
  disabled: boolean;
}

const MAX_HEIGHT_PX = 240;

export function Composer({ inputRef, value, onChange, onSend, onStop, running, disabled }: Props) {
  useLayoutEffect(() => {
    const area = inputRef.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(MAX_HEIGHT_PX, area.scrollHeight)}px`;
    area.style.overflowY = area.scrollHeight > MAX_HEIGHT_PX ? "auto" : "hidden";
  }, [inputRef, value]);

  const canSend = !running && !disabled && value.trim() !== "";
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (canSend) onSend();
      }}
    >
      <textarea
        id="composer"
        ref={inputRef}
        rows={1}
        value={value}
        dir="auto"
        aria-label="Your message"
        aria-describedby="composer-hint"
        placeholder={disabled ? "Choose a model first" : "Ask something…"}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          // While an input method composes a character, Enter belongs to it.
          if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            if (canSend) onSend();
          }
        }}
      />
      {running ? (
        <button type="button" className="round-button stop" onClick={onStop} aria-label="Stop" aria-keyshortcuts="Escape" title="Stop (Escape)">
          <Icon name="stop" />
        </button>
      ) : (
        <button type="submit" className="round-button" disabled={!canSend} aria-label="Send" title="Send (Enter)">
          <Icon name="send" />
        </button>
      )}
    </form>
  );
}
