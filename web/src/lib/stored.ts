/** State kept by the browser: `localStorage` for choices, `sessionStorage` for what must go with the tab (the key, the chat). */
import { type Dispatch, type SetStateAction, useEffect, useState } from "react";

const PREFIX = "streamward.";

export function readStored<T>(store: Storage, name: string, fallback: T): T {
  try {
    const text = store.getItem(PREFIX + name);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback; // a blocked or broken store is no reason to show no page
  }
}

export function writeStored(store: Storage, name: string, value: unknown): void {
  try {
    store.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Full or blocked: the page goes on without memory.
  }
}

export function useStored<T>(store: Storage, name: string, fallback: T): [T, Dispatch<SetStateAction<T>>] {
  const [value, setValue] = useState<T>(() => readStored(store, name, fallback));
  useEffect(() => writeStored(store, name, value), [store, name, value]);
  return [value, setValue];
}
