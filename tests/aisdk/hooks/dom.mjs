// A jsdom window with React in it: renders one hook, hands out what it returns, waits for conditions.

import { JSDOM } from 'jsdom';

const dom = new JSDOM('<!doctype html><div id="root"></div>', { url: 'http://127.0.0.1/' });
for (const name of ['window', 'document', 'HTMLElement', 'Element', 'Node', 'Event', 'FileList']) globalThis[name] = name === 'window' ? dom.window : dom.window[name];
Object.defineProperty(globalThis, 'navigator', { value: dom.window.navigator, configurable: true });

/** A page's own WebSocket: Node 20 has none. */
export const { WebSocket } = dom.window;

const React = await import('react');
const { createRoot } = await import('react-dom/client');

const PATIENCE_MS = 10_000;

/** Render `use()` (a hook with its options); `now()` is its latest value, `until(cond)` waits for one. */
export async function mount(use) {
  let latest;
  let wake = () => {};
  const snapshots = [];
  const Probe = () => {
    latest = use();
    snapshots.push(latest);
    wake();
    return null;
  };
  const root = createRoot(dom.window.document.createElement('div'));
  root.render(React.createElement(Probe));
  const hook = {
    snapshots,
    now: () => latest,
    async until(condition, what = String(condition)) {
      const deadline = Date.now() + PATIENCE_MS;
      while (latest === undefined || !condition(latest)) {
        if (Date.now() > deadline) throw new Error(`waited in vain for ${what}; messages: ${JSON.stringify(latest?.messages ?? latest?.completion)} error: ${latest?.error}`);
        await new Promise(resolve => { wake = resolve; setTimeout(resolve, 50); });
      }
      return latest;
    },
    unmount: () => root.unmount(),
  };
  await hook.until(() => true);
  return hook;
}
