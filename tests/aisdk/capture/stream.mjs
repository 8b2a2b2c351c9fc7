// Runs one scenario through streamText and a response helper, and through the client that reads it.
import { model } from './models.mjs';
import { toolsOf } from './tools.mjs';

const USER = { id: 'u-1', role: 'user', parts: [{ type: 'text', text: 'hi' }] };
const DANGER = approval => ({
  id: 'a-prev', role: 'assistant', parts: [{ type: 'step-start' }, {
    type: 'tool-danger', toolCallId: 'a1', state: 'approval-responded', input: { path: '/tmp/x' },
    approval: { id: 'approval-1', approved: approval },
  }],
});

const onError = error => `E:${error.name}:${error.message}`;

function metadata({ part }) {
  if (part.type === 'start') return { model: 'mock-model', t0: 1 };
  if (part.type === 'finish-step') return { step: true };
  if (part.type === 'finish') return { tokens: part.totalUsage.totalTokens };
  return undefined;
}

async function run(version, sdk, { script, options = {} }) {
  const abort = new AbortController();
  const counter = name => { let n = 0; return () => `${name}-${n++}`; };
  let texts = 0;
  const uiMessages = 'approval' in options ? [USER, DANGER(options.approval)] : [USER];
  const settings = {
    model: model(version, script, options), tools: toolsOf(options.tools, sdk, version), maxRetries: 0,
    abortSignal: abort.signal, onError() {},
    onChunk({ chunk }) {
      if (chunk.type === 'text-delta' && ++texts === options.abortAfter) abort.abort();
    },
  };
  if (version < 5) {
    Object.assign(settings, { prompt: 'hi', maxSteps: options.maxSteps ?? 1, experimental_generateMessageId: counter('msg') });
    if (options.toolCallStreaming) Object.assign(settings, { toolCallStreaming: true, experimental_toolCallStreaming: true });
  } else {
    settings.messages = await sdk.convertToModelMessages(uiMessages);
    settings.stopWhen = sdk.stepCountIs(options.maxSteps ?? 1);
    settings._internal = { generateId: counter('gen') };
  }
  return { result: await sdk.streamText(settings), uiMessages };
}

function respond(version, { result, uiMessages }, options, kind) {
  if (kind === 'text') return result.toTextStreamResponse();
  const shared = {};
  for (const name of ['sendReasoning', 'sendSources', 'sendUsage', 'sendStart', 'sendFinish']) {
    if (name in options) shared[name] = options[name];
  }
  if (version < 5) {
    if ('sendFinish' in options) shared.experimental_sendFinish = options.sendFinish;
    return result.toDataStreamResponse({ ...shared, ...(options.onError ? { getErrorMessage: onError } : {}) });
  }
  if (options.persist || 'approval' in options) {
    Object.assign(shared, { originalMessages: uiMessages, generateMessageId: () => 'srv-msg-1' });
  }
  if (options.metadata) shared.messageMetadata = metadata;
  return result.toUIMessageStreamResponse({ ...shared, ...(options.onError ? { onError } : {}) });
}

async function body(response) {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let wire = '';
  try {
    for await (const chunk of response.body) wire += decoder.decode(chunk, { stream: true });
    return { wire, body_error: null };
  } catch (error) {
    return { wire, body_error: error.message };
  }
}

export async function captureStream(version, sdk, scenario, kind, readClient) {
  const options = scenario.options ?? {};
  const running = await run(version, sdk, { ...scenario, options });
  const response = respond(version, running, options, kind);
  const headers = Object.fromEntries([...response.headers].sort());
  const { wire, body_error } = await body(response);
  const capture = {
    name: scenario.name, kind, options, script: scenario.script,
    response: { status: response.status, headers }, wire, body_error,
  };
  if (kind !== 'text' && readClient && body_error === null) {
    const initial = 'approval' in options ? running.uiMessages.at(-1) : undefined;
    capture.client = await readClient(sdk, wire, initial);
  }
  return capture;
}

// useChat of version 4, without React.
export async function readV4(_sdk, wire) {
  const { callChatApi } = await import('ui-utils4');
  const client = { message: null, error: null };
  try {
    await callChatApi({
      api: '/', body: {}, streamProtocol: 'data', credentials: undefined, headers: undefined, abortController: undefined,
      restoreMessagesOnFailure() {}, onResponse: undefined, onToolCall: undefined, lastMessage: undefined,
      fetch: async () => new Response(wire), generateId: () => 'client-id', onFinish() {},
      onUpdate({ message }) {
        const { revisionId, createdAt, ...rest } = message;
        client.message = structuredClone(rest);
      },
    });
  } catch (error) {
    client.error = error.message;
  }
  return client;
}

// readUIMessageStream of versions 5 to 7.
export async function readV5(sdk, wire, initial) {
  const client = { message: null, errors: [] };
  const chunks = sdk.parseJsonEventStream({ stream: new Response(wire).body, schema: sdk.uiMessageChunkSchema })
    .pipeThrough(new TransformStream({
      transform(item, controller) {
        if (!item.success) throw item.error;
        controller.enqueue(item.value);
      },
    }));
  if (initial !== undefined) client.initial_message = structuredClone(initial);
  for await (const message of sdk.readUIMessageStream({
    stream: chunks, message: structuredClone(initial), onError: error => client.errors.push(error.message),
  })) client.message = JSON.parse(JSON.stringify(message));
  return client;
}
