/** Which view is shown, kept in the address (`#functions`), so that reload and back do what one expects. */
import { useCallback, useEffect, useState } from "react";
import type { ViewId } from "../views";

function fromAddress(): ViewId {
  return location.hash === "#functions" ? "functions" : "chat";
}

export function useView(): [ViewId, (view: ViewId) => void] {
  const [view, setView] = useState(fromAddress);
  const go = useCallback((next: ViewId) => {
    if (next !== fromAddress()) history.pushState(null, "", next === "chat" ? location.pathname + location.search : `#${next}`);
    setView(next);
  }, []);
  // Back, forward, and an address whose "#" was typed.
  useEffect(() => {
    const follow = () => setView(fromAddress());
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  return [view, go];
}
