/** What every part of the page shares: the API key, the models, the settings, the chat, the frame log, open dialogs. */
import { type Dispatch, type SetStateAction, useCallback, useEffect, useState } from "react";
import { ApiError, fetchModels, type Model } from "./api";
import { FrameLog } from "./frames";
import { defaultModel } from "./models";
import { DEFAULT_SETTINGS, type Settings } from "./state";
import { useStored } from "./stored";
import { type Theme, useTheme } from "./useTheme";
import type { ViewId } from "../views";
import { type Chat, useChat } from "./useChat";
import { type Functions, useFunctions } from "./useFunctions";
import { useView } from "./useView";

export type DialogName = "key" | "settings" | "code" | "shortcuts";

export type ModelsState = { kind: "loading" } | { kind: "ready"; models: Model[] } | { kind: "failed"; error: ApiError };

export interface Session {
  models: ModelsState;
  reloadModels: () => void;
  apiKey: string;
  setApiKey: (key: string) => void;
  settings: Settings;
  setSettings: Dispatch<SetStateAction<Settings>>;
  theme: Theme;
  setTheme: (theme: Theme) => void;
  inspectorOpen: boolean;
  setInspectorOpen: Dispatch<SetStateAction<boolean>>;
  dialog: DialogName | null;
  setDialog: (dialog: DialogName | null) => void;
  view: ViewId;
  setView: (view: ViewId) => void;
  log: FrameLog;
  chat: Chat;
  functions: Functions;
}

export function useSession(): Session {
  const [apiKey, setApiKey] = useStored(sessionStorage, "key", "");
  const [stored, setSettings] = useStored<Settings>(localStorage, "settings", DEFAULT_SETTINGS);
  const settings = { ...DEFAULT_SETTINGS, ...stored }; // fields added since it was stored
  const [theme, setTheme] = useTheme();
  const [inspectorOpen, setInspectorOpen] = useStored(localStorage, "inspector", false);
  const [dialog, setDialog] = useState<DialogName | null>(null);
  const [view, setView] = useView();
  const functions = useFunctions(view === "functions");
  const [log] = useState(() => new FrameLog());
  const chat = useChat(settings, apiKey, log, () => setDialog("key"));
  const [models, reloadModels] = useModels(apiKey, setSettings, () => setDialog("key"));
  return {
    models,
    reloadModels,
    apiKey,
    setApiKey,
    settings,
    setSettings,
    theme,
    setTheme,
    inspectorOpen,
    setInspectorOpen,
    dialog,
    setDialog,
    view,
    setView,
    log,
    chat,
    functions,
  };
}

/** A key is typed letter by letter in the settings: asking after each would be many wrong keys in the server's log. */
const KEY_SETTLE_MS = 400;

function useModels(
  apiKey: string,
  setSettings: Dispatch<SetStateAction<Settings>>,
  onUnauthorized: () => void,
): [ModelsState, () => void] {
  const [state, setState] = useState<ModelsState>({ kind: "loading" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const controller = new AbortController();
    const load = async () => {
      try {
        const models = await fetchModels(apiKey, controller.signal);
        setState({ kind: "ready", models });
        setSettings((old) => ({ ...old, model: defaultModel(models, old.model) }));
      } catch (error) {
        if (controller.signal.aborted) return;
        const known = error instanceof ApiError ? error : new ApiError(0, "unexpected", String(error));
        setState({ kind: "failed", error: known });
        if (known.status === 401 && round === 0 && apiKey === "") onUnauthorized();
      }
    };
    const timer = setTimeout(() => void load(), apiKey ? KEY_SETTLE_MS : 0);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [apiKey, round]);
  const reload = useCallback(() => {
    setState({ kind: "loading" });
    setRound((old) => old + 1);
  }, []);
  return [state, reload];
}
