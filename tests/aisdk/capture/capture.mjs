// Records what the real AI SDK packages put on the wire: node capture.mjs [directory]
// One file per major version; ids are counters and dates fixed, so a second run writes the same bytes.
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { captureConversions } from './conversions.mjs';
import { captureHooks } from './hooks.mjs';
import { captureLegacy } from './legacy.mjs';
import { scenariosOf } from './scenarios.mjs';
import { captureStream, readV4, readV5 } from './stream.mjs';
import { captureTables } from './tables.mjs';
import { captureWriters } from './writers.mjs';

process.on('unhandledRejection', () => {}); // result promises of streams that fail on purpose
console.error = console.warn = () => {};
globalThis.AI_SDK_LOG_WARNINGS = false;

const directory = process.argv[2] ?? join(import.meta.dirname, '..', 'captures');
mkdirSync(directory, { recursive: true });

function write(name, value) {
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(value, null, 1)}\n`);
}

function versionOf(alias) {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'node_modules', alias, 'package.json'))).version;
}

const sdks = {};
for (const version of [3, 4, 5, 6, 7]) {
  const sdk = (sdks[version] = await import(`ai${version}`));
  const readClient = version === 3 ? undefined : version === 4 ? readV4 : readV5;
  const streams = [];
  for (const scenario of scenariosOf(version)) {
    streams.push(await captureStream(version, sdk, scenario, 'data', readClient));
    if (scenario.text) streams.push(await captureStream(version, sdk, scenario, 'text'));
  }
  const conversions = version === 3 ? [] : await captureConversions(version, sdk);
  const writers = version === 3 ? [] : await captureWriters(version, sdk);
  const hooks = version < 5 ? [] : await captureHooks(sdk);
  write(`v${version}`, { sdk: `ai@${versionOf(`ai${version}`)}`, streams, conversions, writers, hooks });
}
write('tables', await captureTables({ ai6: sdks[6], ui4: await import('ui-utils4') }));
write('v2', { sdk: `ai@${versionOf('ai2')}`, ...(await captureLegacy(await import('ai2'))) });
