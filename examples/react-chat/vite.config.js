import { defineConfig } from 'vite';

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  build: { rollupOptions: { input: ['index.html', 'completion.html', 'v4.html'] } },
  server: { proxy: { '/api': 'http://127.0.0.1:8000' } }, // the FastAPI example
});
