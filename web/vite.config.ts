/** Build of the playground page. The output goes into the Python package, which serves it. */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Where `npm run dev` sends API calls: a running `streamward dev`.
const GATEWAY = "http://127.0.0.1:8787";

export default defineConfig({
  plugins: [react()],
  base: "./", // works behind a proxy that mounts the page under a prefix
  build: {
    outDir: "../src/streamward/playground/dist",
    emptyOutDir: true,
    assetsInlineLimit: 0, // data: URLs would need a wider content security policy
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/v1": GATEWAY } },
});
