// node run.mjs VERSION APP_URL UPSTREAM_ORIGIN: prints what the hooks of that major made of the app, as JSON.

import { classic } from './classic.mjs';
import { modern } from './modern.mjs';

const [, , wanted, base, origin] = process.argv;
const version = Number(wanted);
const upstream = {
  step: () => fetch(`${origin}/step`, { method: 'POST' }).then(r => r.text()),
  /** What the last request's user said. */
  async said() {
    const seen = await (await fetch(`${origin}/seen`)).json();
    return seen.at(-1).body.messages.findLast(m => m.role === 'user').content;
  },
  /** Whether the last request's connection was closed, once it was. */
  async gone() {
    for (let tries = 0; tries < 200; tries += 1) {
      const seen = await (await fetch(`${origin}/seen`)).json();
      if (seen.at(-1).gone) return true;
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    return false;
  },
};

async function run() {
  if (version === 2) return classic(2, await import('ai2/react'), base, upstream);
  if (version === 3) return classic(3, await import('ai3/react'), base, upstream);
  if (version === 4) {
    const sdk = await import('react4');
    return classic(4, { ...sdk, useObject: sdk.experimental_useObject }, base, upstream);
  }
  return modern(version, await import(`react${version}`), await import(`ai${version}`), base, upstream);
}

process.stdout.write(JSON.stringify(await run()));
process.exit(0);
