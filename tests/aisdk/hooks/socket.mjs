// node socket.mjs APP_URL UPSTREAM_ORIGIN: what WebSocketChatTransport of AI SDK 7 makes of the app's socket, as JSON.
import { readUIMessageStream, WebSocketChatTransport } from 'ai7';
import WebSocket from 'ws';

const [, , base, origin] = process.argv;
const results = {};
const open = [];

function transport(model) {
  const made = new WebSocketChatTransport({ url: `${base.replace('http', 'ws')}/v7/api/chat-ws`, webSocket: WebSocket, body: { model } });
  open.push(made);
  return made;
}
const user = text => ({ id: 'u1', role: 'user', parts: [{ type: 'text', text }] });
const ask = (to, chatId, more = {}) =>
  to.sendMessages({ chatId, trigger: 'submit-message', messageId: undefined, messages: [user('hi')], ...more });
const seen = async () => (await fetch(`${origin}/seen`)).json();
const step = () => fetch(`${origin}/step`, { method: 'POST' }).then(r => r.text());

async function gone() {
  for (let tries = 0; tries < 200; tries += 1) {
    if ((await seen()).at(-1).gone) return true;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  return false;
}

async function read(stream) {
  let message = null;
  const errors = [];
  try {
    for await (const now of readUIMessageStream({ stream, onError: error => errors.push(error.message) })) message = now;
  } catch (error) {
    errors.push(error.message);
  }
  return { text: message?.parts.filter(p => p.type === 'text').map(p => p.text).join('') ?? null, errors };
}

async function chunk(reader, type) {
  for (;;) {
    const { value, done } = await reader.read();
    if (done || value.type === type) return value ?? null;
  }
}

// Two chats share one socket.
const shared = transport('plain');
results.shared = await Promise.all(['a', 'b'].map(async id => read(await ask(shared, id))));
results.tools = (await read(await ask(transport('tools'), 'tools'))).text;
for (const model of ['error', 'drop', 'denied']) results[model] = await read(await ask(transport(model), model));

// Stopped by the reader: the provider is left.
const stop = new AbortController();
const stopping = (await ask(transport('stall'), 'stopped', { abortSignal: stop.signal })).getReader();
results.stopped = { before: (await chunk(stopping, 'text-delta')).delta };
stop.abort();
results.stopped.gone = await gone();

// The socket is lost: the answer goes on, and another socket gets it from its beginning.
const id = 'chat/7 lost #ü%2F';
const lost = transport('stepped');
await chunk((await ask(lost, id)).getReader(), 'text-delta');
lost.close();
const back = transport('stepped');
const resumed = read(await back.reconnectToStream({ chatId: id }));
for (let n = 0; n < 4; n += 1) await step();
results.resumed = await resumed;
results.nothing = await back.reconnectToStream({ chatId: 'never' });

// What is no frame closes the socket, and says why.
results.bad = await new Promise(resolve => {
  const socket = new WebSocket(`${base.replace('http', 'ws')}/v7/api/chat-ws`);
  socket.onopen = () => socket.send('{"type":"send","requestId":7}');
  socket.onclose = event => resolve([event.code, event.reason]);
});
for (const one of open) one.close();
console.log(JSON.stringify(results));
