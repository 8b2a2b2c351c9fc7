// useChat, useCompletion and useObject of majors 5, 6 and 7 against the conformance app.

import { z } from 'zod';
import { WebSocket, mount } from './dom.mjs';

const idle = h => h.status === 'ready' || h.status === 'error';
const last = h => h.messages.at(-1);
const textOf = m => m.parts.filter(p => p.type === 'text').map(p => p.text).join('');

export async function modern(version, react, ai, base, upstream) {
  const api = name => `${base}/v${version}/api/${name}`;
  const results = {};
  let ids = 0;

  function open(route, model, options = {}) {
    const chat = new react.Chat({
      id: `chat/${version} ü#${ids += 1}`,
      transport: new ai.DefaultChatTransport({ api: api(route), body: { model } }),
      ...options,
    });
    return mount(() => react.useChat({ chat }));
  }
  async function ask(route, model, { text = 'hi', options = {}, files } = {}) {
    const hook = await open(route, model, options);
    await hook.now().sendMessage({ text, ...(files ? { files } : {}) });
    await hook.until(h => h.status === 'error' || (h.status === 'ready' && last(h)?.role === 'assistant'), 'the end of the answer');
    return hook;
  }

  const plain = await ask('chat', 'plain');
  results.plain = { text: textOf(last(plain.now())), roles: plain.now().messages.map(m => m.role), id: typeof last(plain.now()).id };
  await plain.now().regenerate();
  await plain.until(h => idle(h) && h.messages.length === 2);
  results.regenerated = textOf(last(plain.now()));

  const denied = await ask('chat', 'denied');
  results.denied = denied.now().error.message;
  const dropped = await ask('chat', 'drop');
  results.dropped = { error: dropped.now().error?.message, text: textOf(last(dropped.now())) };

  const stalled = await open('chat', 'stall');
  const sending = stalled.now().sendMessage({ text: 'hi' });
  await stalled.until(h => last(h)?.role === 'assistant' && textOf(last(h)) === 'Hel');
  await stalled.now().stop();
  await sending;
  await stalled.until(idle);
  results.stopped = { text: textOf(last(stalled.now())), gone: await upstream.gone() };

  const steps = await open('chat', 'stepped');
  const stepping = steps.now().sendMessage({ text: 'hi' });
  results.steps = [];
  for (const whole of ['Hello', 'Hello, ', 'Hello, wörld', 'Hello, wörld 👋🏽']) {
    await steps.until(h => last(h)?.role === 'assistant' && textOf(last(h)) === whole, whole);
    results.steps.push(whole);
    await upstream.step();
  }
  await stepping;

  const tools = await ask('chat', 'tools');
  results.tools = { text: textOf(last(tools.now())), outputs: last(tools.now()).parts.filter(p => p.type === 'tool-weather').map(p => [p.state, p.output]) };
  const failing = await ask('chat', 'failing');
  results.failing = { text: textOf(last(failing.now())), tool: last(failing.now()).parts.find(p => p.type === 'tool-failing') };
  const reasoning = await ask('chat', 'reasoning');
  results.reasoning = last(reasoning.now()).parts.filter(p => p.type === 'reasoning').map(p => p.text);

  const question = await ask('chat', 'ask', { options: { sendAutomaticallyWhen: ai.lastAssistantMessageIsCompleteWithToolCalls } });
  const asked = last(question.now()).id;
  (question.now().addToolOutput ?? question.now().addToolResult)({ tool: 'askUser', toolCallId: 'c1', output: 'because' });
  await question.until(h => idle(h) && textOf(last(h)).startsWith('So: '), 'the answer to the answer');
  results.ask = { text: textOf(last(question.now())), same: last(question.now()).id === asked, messages: question.now().messages.length };

  if (version > 5) {
    for (const approved of [true, false]) {
      const danger = await ask('chat', 'danger', { options: { sendAutomaticallyWhen: ai.lastAssistantMessageIsCompleteWithApprovalResponses } });
      const part = () => last(danger.now()).parts.find(p => p.type === 'tool-danger');
      const before = part().state;
      danger.now().addToolApprovalResponse({ id: part().approval.id, approved });
      await danger.until(h => idle(h) && textOf(last(h)) === 'Gone.', 'the end after the approval');
      results[approved ? 'approved' : 'denied_tool'] = { before, after: part().state, output: part().output ?? null };
    }
  }

  const data = [];
  const custom = await ask('custom', 'plain', { options: { onData: part => data.push(part.type) } });
  results.custom = { metadata: last(custom.now()).metadata, parts: last(custom.now()).parts.map(p => p.type), data, status: last(custom.now()).parts.find(p => p.type === 'data-status').data };

  const text = await mount(() => react.useChat({ transport: new ai.TextStreamChatTransport({ api: api('chat-text'), body: { model: 'plain' } }) }));
  await text.now().sendMessage({ text: 'hi' });
  await text.until(h => idle(h) && last(h)?.role === 'assistant', 'the answer as text');
  results.text = textOf(last(text.now()));

  const file = { type: 'file', mediaType: 'text/plain', url: 'data:text/plain;base64,c2VjcmV0', filename: 'a.txt' };
  const attached = await ask('chat', 'plain', { files: [file] });
  results.attached = { text: textOf(last(attached.now())), said: await upstream.said() };

  const completion = await mount(() => react.useCompletion({ api: api('completion') }));
  await completion.now().complete('say it');
  await completion.until(h => !h.isLoading && h.completion !== '');
  results.completion = completion.now().completion;

  const object = await mount(() => react.experimental_useObject({ api: api('object'), schema: z.object({ city: z.string(), tempC: z.number() }) }));
  object.now().submit({ topic: 't' });
  await object.until(h => !h.isLoading && h.object?.tempC === 21);
  results.object = object.now().object;

  results.resumed = await resume(version, react, ai, api('resumable'), upstream);
  if (version === 7) results.socket = await overSocket(react, ai, api('chat-ws'), upstream);
  return results;
}

/** Two turns, a stop, and a reconnect, over WebSocketChatTransport. */
async function overSocket(react, ai, url, upstream) {
  const open = (model, id, options = {}) => {
    const transport = new ai.WebSocketChatTransport({ url, webSocket: WebSocket, body: { model } });
    return { transport, chat: new react.Chat({ id, transport, ...options }) };
  };
  const plain = open('tools', 'ws plain');
  await plain.chat.sendMessage({ text: 'hi' });
  await plain.chat.sendMessage({ text: 'again' });
  const turns = plain.chat.messages.map(m => textOf(m));
  plain.transport.close();

  const stalled = open('stall', 'ws stalled');
  const sending = stalled.chat.sendMessage({ text: 'hi' });
  await seen(() => stalled.chat.messages.at(-1)?.role === 'assistant' && textOf(stalled.chat.messages.at(-1)) === 'Hel');
  await stalled.chat.stop();
  await sending;
  const stopped = { text: textOf(stalled.chat.messages.at(-1)), status: stalled.chat.status, gone: await upstream.gone() };
  stalled.transport.close();

  const denied = open('denied', 'ws denied');
  await denied.chat.sendMessage({ text: 'hi' });
  const refused = denied.chat.error?.message;
  denied.transport.close();

  const before = open('stepped', 'ws ü/#');
  const lost = before.chat.sendMessage({ text: 'hi' });
  await seen(() => before.chat.messages.length === 2 && textOf(before.chat.messages[1]) === 'Hello');
  before.transport.close();
  await lost;
  const after = open('stepped', 'ws ü/#', { messages: [before.chat.messages[0]] });
  const resuming = after.chat.resumeStream();
  await seen(() => after.chat.messages.length === 2 && textOf(after.chat.messages[1]) === 'Hello');
  for (let step = 0; step < 4; step += 1) await upstream.step();
  await resuming;
  const resumed = { text: textOf(after.chat.messages[1]), same: after.chat.messages[1].id === before.chat.messages[1].id };
  const idle = await after.transport.reconnectToStream({ chatId: 'ws ü/#' });
  after.transport.close();
  return { turns, stopped, refused, resumed, idle };
}

async function seen(condition) {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 1000) throw new Error(`waited in vain for ${condition}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

async function resume(version, react, ai, api, upstream) {
  const id = `chat/${version} resumed #ü%2F`;
  const transport = () => new ai.DefaultChatTransport({ api, body: { model: 'stepped' } });
  const first = new react.Chat({ id, transport: transport() });
  const before = await mount(() => react.useChat({ chat: first }));
  const sent = before.now().sendMessage({ text: 'hi' });
  await before.until(h => last(h)?.role === 'assistant' && textOf(last(h)) === 'Hello');
  await before.now().stop();
  await sent;
  before.unmount();

  const second = new react.Chat({ id, transport: transport(), messages: [first.messages[0]] });
  const after = await mount(() => react.useChat({ chat: second, resume: true }));
  await after.until(h => last(h)?.role === 'assistant' && textOf(last(h)) === 'Hello', 'the replay');
  for (const whole of ['Hello, ', 'Hello, wörld', 'Hello, wörld 👋🏽']) {
    await upstream.step();
    await after.until(h => textOf(last(h)) === whole, whole);
  }
  await upstream.step();
  await after.until(idle);
  return { text: textOf(last(after.now())), messages: after.now().messages.length };
}
