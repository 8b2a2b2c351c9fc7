/** The model picker: a button and a searchable list, grouped by provider (the ARIA combobox pattern). */
import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import type { Model } from "../lib/api";
import { groupModels, modelNote } from "../lib/models";
import { Icon } from "./icons";

interface Props {
  models: readonly Model[];
  value: string;
  onChange: (id: string) => void;
}

export function ModelPicker({ models, value, onChange }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const note = modelNote(value);

  useEffect(() => {
    if (!open) return;
    const outside = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };

  return (
    <div className="picker" ref={root}>
      <button
        type="button"
        ref={button}
        className="picker-button"
        aria-haspopup="dialog"
        aria-expanded={open}
        aria-label={`Model: ${value || "none"}`}
        onClick={() => setOpen(!open)}
      >
        <span className="picker-value">{value || "No model"}</span>
        {note && <span className={`badge badge-${note.kind}`}>{note.label}</span>}
        <Icon name="chevron" size={16} />
      </button>
      {open && (
        <PickerList
          models={models}
          value={value}
          onPick={(id) => {
            onChange(id);
            close();
          }}
          onClose={close}
        />
      )}
    </div>
  );
}

interface ListProps {
  models: readonly Model[];
  value: string;
  onPick: (id: string) => void;
  onClose: () => void;
}

function PickerList({ models, value, onPick, onClose }: ListProps) {
  const [search, setSearch] = useState("");
  const [active, setActive] = useState<string>(value);
  const listId = useId();
  const list = useRef<HTMLDivElement>(null);
  const groups = useMemo(() => groupModels(models, search), [models, search]);
  const typed = search.trim();
  // Ids beyond the list are fine: providers know more models, and demo models take options after "?".
  const custom = typed !== "" && !models.some((model) => model.id === typed) && /^\S+$/.test(typed);
  const ids = [...groups.flatMap((group) => group.models.map((model) => model.id)), ...(custom ? [typed] : [])];
  const at = Math.max(0, ids.indexOf(active));
  const optionId = (id: string) => `${listId}-${ids.indexOf(id)}`;

  useEffect(() => {
    list.current?.querySelector("[data-active]")?.scrollIntoView({ block: "nearest" });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: ids.length - 1 };
    const target = moves[event.key];
    if (target !== undefined && ids.length > 0) {
      setActive(ids[(target + ids.length) % ids.length] ?? "");
    } else if (event.key === "Enter") {
      const id = ids[at];
      if (id) onPick(id);
    } else if (event.key === "Escape" || event.key === "Tab") {
      onClose();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const option = (id: string, title: string, description: string) => (
    <div
      key={id}
      id={optionId(id)}
      role="option"
      tabIndex={-1}
      aria-selected={id === value}
      data-active={ids[at] === id || undefined}
      className="picker-option"
      onClick={() => onPick(id)}
      onPointerMove={() => setActive(id)}
    >
      <span className="picker-option-name">
        {title}
        {id === value && <Icon name="check" size={15} />}
      </span>
      {description && <span className="picker-option-text">{description}</span>}
    </div>
  );

  return (
    <div className="picker-panel" role="dialog" aria-label="Choose a model">
      <input
        className="picker-search"
        type="text"
        role="combobox"
        aria-label="Search models"
        aria-expanded="true"
        aria-controls={listId}
        aria-activedescendant={ids.length > 0 ? `${listId}-${at}` : undefined}
        placeholder="Search, or type a model id"
        autoComplete="off"
        spellCheck={false}
        autoFocus
        value={search}
        onChange={(event) => {
          setSearch(event.target.value);
          setActive("");
        }}
        onKeyDown={onKeyDown}
      />
      <div className="picker-list" id={listId} role="listbox" aria-label="Models" ref={list}>
        {groups.map((group) => (
          <div key={group.provider} role="group" aria-label={group.provider}>
            <div className="picker-group" aria-hidden="true">
              {group.provider}
              {group.provider === "demo" && <span>simulated, no AI</span>}
            </div>
            {group.models.map((model) => option(model.id, nameIn(group.provider, model.id), model.description || noteFor(model)))}
          </div>
        ))}
        {custom && option(typed, `Use “${typed}”`, "As typed. The server says whether it knows it.")}
        {ids.length === 0 && <p className="picker-empty">No model matches.</p>}
      </div>
    </div>
  );
}

function nameIn(provider: string, id: string): string {
  return id.startsWith(`${provider}/`) ? id.slice(provider.length + 1) : id;
}

function noteFor(model: Model): string {
  return modelNote(model.id)?.kind === "toy" ? "A toy, trained only on this project." : "";
}
