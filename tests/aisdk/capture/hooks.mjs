// What the chat transport of versions 5 to 7 posts; useChat only adds React around it.

const USER = { id: 'u', role: 'user', parts: [{ type: 'text', text: 'hi' }], metadata: { m: 1 } };
const ASKED = { id: 'a', role: 'assistant', parts: [{ type: 'step-start' },
  { type: 'tool-ask', toolCallId: 'c1', state: 'output-available', input: { q: 1 }, output: { yes: true } }] };
const EMPTY = 'data: [DONE]\n\n';

export async function captureHooks(sdk) {
  const requests = [];
  const transport = new sdk.DefaultChatTransport({
    api: '/api/chat', body: { extra: 1 },
    async fetch(url, { method = 'GET', body }) {
      requests.push({ method, path: String(url), ...(body ? { body: JSON.parse(body) } : {}) });
      return method === 'GET' ? new Response(null, { status: 204 }) : new Response(EMPTY);
    },
  });
  const send = (messages, trigger, messageId) => transport.sendMessages({ chatId: 'chat 1', messages, trigger, messageId });
  await send([USER], 'submit-message');
  await send([USER, ASKED], 'submit-message', 'a');
  await send([USER], 'regenerate-message', 'a');
  await transport.reconnectToStream({ chatId: 'chat r/1' });
  return requests;
}
