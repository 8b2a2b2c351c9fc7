/** Light, dark, or as the system says. `data-theme` on the root element decides; styles/tokens.css reads it. */
import { useEffect } from "react";
import { useStored } from "./stored";

export type Theme = "auto" | "light" | "dark";

export const NEXT_THEME: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useStored<Theme>(localStorage, "theme", "auto");
  useEffect(() => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  return [theme, setTheme];
}
