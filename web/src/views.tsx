/** The views of the page. A new one is one line here; the tabs appear in the header once there are two. */
import type { ComponentType } from "react";
import { ChatView } from "./components/ChatView";
import type { Session } from "./lib/useSession";

export interface View {
  id: string;
  label: string;
  Component: ComponentType<{ session: Session }>;
}

export const VIEWS: readonly [View, ...View[]] = [{ id: "chat", label: "Chat", Component: ChatView }];
