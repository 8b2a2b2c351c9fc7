/** The views of the page: a new one is one line here. The address keeps which one is shown, as `#id`. */
import type { ComponentType } from "react";
import { ChatView } from "./components/ChatView";
import { FunctionsView } from "./components/functions/FunctionsView";
import type { Session } from "./lib/useSession";

export type ViewId = "chat" | "functions";

export interface View {
  id: ViewId;
  label: string;
  Component: ComponentType<{ session: Session }>;
}

export const VIEWS: readonly [View, ...View[]] = [
  { id: "chat", label: "Chat", Component: ChatView },
  { id: "functions", label: "Functions", Component: FunctionsView },
];
