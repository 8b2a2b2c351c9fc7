// UI messages as hooks post them, through each version's conversion to model messages.

const USER4 = { role: 'user', content: 'w', parts: [{ type: 'text', text: 'w' }] };
const call4 = (extra, step = 0, id = 'c1') => ({
  type: 'tool-invocation', toolInvocation: { state: 'result', step, toolCallId: id, toolName: 'weather', args: { city: 'Oslo' }, ...extra },
});
const assistant4 = (...parts) => ({ role: 'assistant', content: '', parts });

const USER5 = { id: 'u', role: 'user', parts: [{ type: 'text', text: 'w' }] };
const assistant5 = (...parts) => ({ id: 'a', role: 'assistant', parts });
const call5 = (state, extra = {}, id = 'c1') => ({ type: 'tool-weather', toolCallId: id, state, input: { city: 'Oslo' }, ...extra });
const STEP = { type: 'step-start' };

export const CONVERSIONS = {
  4: {
    'plain': [{ role: 'system', content: 'sys' }, USER4, assistant4({ type: 'text', text: 'hello' })],
    'no-parts': [{ role: 'user', content: 'x' }, { role: 'assistant', content: 'y' }, { role: 'data', content: 'z', data: {} }],
    'attachments': [{ role: 'user', content: 'see', parts: [{ type: 'text', text: 'see' }], experimental_attachments: [
      { contentType: 'text/plain', url: 'data:text/plain;base64,xbxhYmE=' },
      { contentType: 'image/gif', url: 'data:image/gif;base64,R0lGODlhAQABAAAAACw=' },
      { contentType: 'image/png', url: 'https://example.com/p.png' }] }],
    'tool-then-text': [USER4, assistant4({ type: 'step-start' }, { type: 'text', text: 'Hm.' }, call4({ result: { t: 1 } }), { type: 'text', text: 'One.' })],
    'tool-steps': [USER4, assistant4(call4({ result: 1 }), call4({ result: 2 }, 1, 'c2'), { type: 'text', text: 'Both.' })],
    'invocations': [USER4, { role: 'assistant', content: 'done', toolInvocations: [
      { state: 'result', step: 0, toolCallId: 'c1', toolName: 'weather', args: {}, result: 'x' },
      { state: 'result', step: 1, toolCallId: 'c2', toolName: 'weather', args: {}, result: 'y' }] }, USER4],
    'no-result': [USER4, assistant4(call4({ state: 'call' }))],
    'reasoning': [USER4, assistant4({ type: 'reasoning', reasoning: 'hm', details: [{ type: 'text', text: 'hm', signature: 's' }, { type: 'redacted', data: 'r' }] }, { type: 'text', text: 'a' })],
  },
  5: {
    'plain': [USER5, assistant5(STEP, { type: 'text', text: 'hello', state: 'done' }), USER5],
    'system': [{ id: 's', role: 'system', parts: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }] }, USER5],
    'tool-then-text': [USER5, assistant5(STEP, { type: 'text', text: 'Hm.' }, call5('output-available', { output: { t: 1 } }), STEP, { type: 'text', text: 'One.' })],
    'tool-text-output': [USER5, assistant5(STEP, call5('output-available', { output: 'pong' }))],
    'tool-error': [USER5, assistant5(STEP, call5('output-error', { errorText: 'no' }))],
    'tool-error-raw': [USER5, assistant5(STEP, { ...call5('output-error', { errorText: 'no', rawInput: { town: 5 } }), input: undefined })],
    'tool-streaming': [USER5, assistant5(STEP, { type: 'text', text: 'x' }, call5('input-streaming'))],
    'tool-open': [USER5, assistant5(STEP, call5('input-available'))],
    'reasoning': [USER5, assistant5(STEP, { type: 'reasoning', text: 'hm', providerMetadata: { mock: { signature: 's' } } }, { type: 'text', text: 'a' })],
    'dynamic': [USER5, assistant5(STEP, { type: 'dynamic-tool', toolName: 'dyn', toolCallId: 'd1', state: 'output-available', input: { x: 1 }, output: { y: 2 } }, { type: 'text', text: 't' })],
    'files': [{ id: 'u', role: 'user', parts: [{ type: 'file', mediaType: 'image/gif', url: 'data:image/gif;base64,R0lGODlhAQABAAAAACw=' }, { type: 'data-note', data: 1 }, { type: 'text', text: 'see' }] }],
    'sources': [USER5, assistant5(STEP, { type: 'source-url', sourceId: 's', url: 'https://example.com' }, { type: 'text', text: 'a' })],
  },
};
CONVERSIONS[6] = {
  ...CONVERSIONS[5],
  'denied': [USER5, assistant5(STEP, call5('output-denied', { approval: { id: 'ap', approved: false, reason: 'no' } }))],
};
CONVERSIONS[7] = CONVERSIONS[6];

export async function captureConversions(version, sdk) {
  const convert = sdk.convertToModelMessages ?? sdk.convertToCoreMessages;
  const out = [];
  for (const [name, messages] of Object.entries(CONVERSIONS[version])) {
    const capture = { name, messages };
    try {
      capture.model_messages = portable(await convert(structuredClone(messages)));
    } catch (error) {
      capture.error = error.message;
    }
    out.push(capture);
  }
  return out;
}

function portable(messages) {
  return JSON.parse(JSON.stringify(messages, (_key, value) => {
    if (value instanceof Uint8Array) return { $base64: Buffer.from(value).toString('base64') };
    if (value?.type === 'Buffer') return { $base64: Buffer.from(value.data).toString('base64') };
    return value;
  }));
}
