// Reads bodies as the real clients do: one JSON {version, sdk, wire} per line of standard input, one message per line out.
import { createInterface } from 'node:readline';

import { readV4, readV5 } from './stream.mjs';

console.error = console.warn = () => {};
globalThis.AI_SDK_LOG_WARNINGS = false;

for await (const line of createInterface({ input: process.stdin })) {
  const { version, sdk: alias, wire } = JSON.parse(line);
  const sdk = await import(alias);
  const { message, error, errors } = await (version === 4 ? readV4 : readV5)(sdk, wire);
  process.stdout.write(`${JSON.stringify({ message, error: error ?? errors?.[0] ?? null })}\n`);
}
