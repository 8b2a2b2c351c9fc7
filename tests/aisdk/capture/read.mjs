// Reads bodies as the real clients do: one JSON {version, wire} per line of standard input, one message per line out.
import { createInterface } from 'node:readline';

import { readV4, readV5 } from './stream.mjs';

console.error = console.warn = () => {};
globalThis.AI_SDK_LOG_WARNINGS = false;

for await (const line of createInterface({ input: process.stdin })) {
  const { version, wire } = JSON.parse(line);
  const sdk = await import(`ai${version}`);
  const { message, error, errors } = await (version === 4 ? readV4 : readV5)(sdk, wire);
  process.stdout.write(`${JSON.stringify({ message, error: error ?? errors?.[0] ?? null })}\n`);
}
