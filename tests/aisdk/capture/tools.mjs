// The tools of the scenarios, in the shape of each version.
import { z } from 'zod';

// Waits far apart: results come in completion order, on a busy machine too.
const wait = ms => new Promise(resolve => setTimeout(resolve, ms));

const SPECS = {
  weather: [z.object({ city: z.string() }), async ({ city }) => {
    if (city === 'Slowville') await wait(400);
    return { city, tempC: 21 };
  }],
  add: [z.object({ a: z.number(), b: z.number() }), async ({ a, b }) => { await wait(100); return { sum: a + b }; }],
  ping: [z.object({}), async () => { await wait(200); return 'pong'; }],
  askUser: [z.object({ question: z.string() })],
  failing: [z.object({}), async () => { throw new Error('tool exploded: internal detail'); }],
  progress: [z.object({}), async function* () { for (const pct of [10, 50, 100]) yield { pct }; }],
  danger: [z.object({ path: z.string() }), async ({ path }) => ({ removed: path })],
};

export function toolsOf(names, sdk, version) {
  const tools = {};
  for (const name of names ?? []) {
    if (name === 'dyn') {
      tools.dyn = sdk.dynamicTool({ description: 'dyn', inputSchema: z.object({ x: z.number() }), execute: async ({ x }) => ({ y: x + 1 }) });
      continue;
    }
    if (name === 'search') { // declared here, run by the provider
      const type = version === 5 ? 'provider-defined' : 'provider';
      tools.search = { type, id: 'mock.search', name, args: {}, isProviderExecuted: true, inputSchema: z.object({ q: z.string() }) };
      continue;
    }
    const [schema, execute] = SPECS[name];
    tools[name] = sdk.tool({
      description: name, [version < 5 ? 'parameters' : 'inputSchema']: schema, ...(execute ? { execute } : {}),
      ...(name === 'danger' ? { needsApproval: true } : {}),
    });
  }
  return tools;
}
