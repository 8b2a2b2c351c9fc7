/** Start of the page. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/header.css";
import "./styles/chat.css";
import "./styles/markdown.css";
import "./styles/notices.css";
import "./styles/inspector.css";
import "./styles/functions.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
