// useChat, useCompletion and useObject of majors 2, 3 and 4 against the conformance app.

import { z } from 'zod';
import { mount } from './dom.mjs';

const idle = h => h.isLoading === false;
const last = h => h.messages.at(-1);

export async function classic(version, sdk, base, upstream) {
  const api = name => `${base}/v${version}/api/${name}`;
  const results = {};

  async function chat(route, model, { text = 'hi', options = {}, send = {} } = {}) {
    const errors = [];
    const hook = await mount(() => sdk.useChat({ api: api(route), body: { model }, onError: e => errors.push(e.message), ...options }));
    hook.errors = errors;
    hook.sent = hook.now().append({ role: 'user', content: text }, send);
    await hook.sent;
    await hook.until(h => idle(h) && (errors.length > 0 || last(h)?.role === 'assistant'), 'the end of the answer');
    return hook;
  }

  const plain = await chat('chat', 'plain');
  results.plain = { text: last(plain.now()).content, roles: plain.now().messages.map(m => m.role) };
  await plain.now().reload();
  await plain.until(h => idle(h) && h.messages.length === 2);
  results.reload = last(plain.now()).content;

  const denied = await chat('chat', 'denied');
  results.denied = denied.errors;
  const dropped = await chat('chat', 'drop');
  results.dropped = { errors: dropped.errors.length, text: last(dropped.now()).content };

  const stalled = await mount(() => sdk.useChat({ api: api('chat'), body: { model: 'stall' } }));
  const sending = stalled.now().append({ role: 'user', content: 'hi' });
  await stalled.until(h => last(h)?.content === 'Hel');
  stalled.now().stop();
  await sending;
  await stalled.until(idle);
  results.stopped = { text: last(stalled.now()).content, gone: await upstream.gone() };

  const steps = await mount(() => sdk.useChat({ api: api('chat'), body: { model: 'stepped' } }));
  const stepping = steps.now().append({ role: 'user', content: 'hi' });
  results.steps = [];
  for (const whole of ['Hello', 'Hello, ', 'Hello, wörld', 'Hello, wörld 👋🏽']) {
    await steps.until(h => last(h)?.content === whole, whole);
    results.steps.push(whole);
    await upstream.step();
  }
  await stepping;

  const completion = await mount(() => sdk.useCompletion({ api: api('completion') }));
  await completion.now().complete('say it');
  await completion.until(h => idle(h) && h.completion !== '');
  results.completion = completion.now().completion;

  if (version < 4) {
    const data = await chat('chat-data', 'plain');
    results.data = { data: data.now().data, annotations: last(data.now()).annotations, text: last(data.now()).content };
    results.node = last((await chat('node', 'plain')).now()).content;
  }
  if (version === 2) {
    const calls = [];
    // Without a handler this client asks again and again.
    await chat('chat', 'function', { options: { experimental_onFunctionCall: async (_, call) => { calls.push(call); } } });
    results.function = calls;
  }

  if (version > 2) {
    const core = version === 3 ? 'chat-core' : 'chat';
    const tools = await chat(core, 'tools');
    results.tools = { text: last(tools.now()).content, invocations: tools.now().messages.flatMap(m => m.toolInvocations ?? []), steps: tools.now().messages.length };
    results.failing = (await chat(core, 'failing')).errors;
    results.text = last((await chat('chat-text', 'plain', { options: { streamProtocol: 'text' } })).now()).content;

    const ask = await mount(() => sdk.useChat({ api: api(core), body: { model: 'ask' }, maxSteps: 3 }));
    ask.now().append({ role: 'user', content: 'hi' });
    await ask.until(h => idle(h) && last(h)?.toolInvocations?.[0]?.state === 'call', 'the question');
    ask.now().addToolResult({ toolCallId: 'c1', result: { answer: 'because' } });
    await ask.until(h => idle(h) && last(h).content.startsWith('So: '), 'the answer to the answer');
    results.ask = last(ask.now()).content;

    const attachment = { name: 'a.txt', contentType: 'text/plain', url: 'data:text/plain;base64,c2VjcmV0' };
    const attached = await chat(core, 'plain', { send: { experimental_attachments: [attachment] } });
    results.attached = { text: last(attached.now()).content, said: await upstream.said() };
  }
  if (version === 4) {
    const reasoning = await chat('chat', 'reasoning');
    results.reasoning = { reasoning: last(reasoning.now()).reasoning, parts: last(reasoning.now()).parts.map(p => p.type) };
    const custom = await chat('custom', 'plain');
    results.custom = { data: custom.now().data, annotations: last(custom.now()).annotations, parts: last(custom.now()).parts.map(p => p.type), text: last(custom.now()).content };
    const object = await mount(() => sdk.useObject({ api: api('object'), schema: z.object({ city: z.string(), tempC: z.number() }) }));
    object.now().submit({ topic: 't' });
    await object.until(h => idle(h) && h.object?.tempC === 21);
    results.object = object.now().object;
  }
  return results;
}
