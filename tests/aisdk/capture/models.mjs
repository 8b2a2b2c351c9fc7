// A model that plays a neutral script, in the shape each version's language model specification asks for.

const META = { type: 'response-metadata', id: 'resp-1', modelId: 'mock-model', timestamp: new Date(0) };
const PROVIDER = { mock: { k: 1 } };

// Specification v1: AI SDK 3.4 and 4.
function partsV1(call) {
  const out = [META];
  for (const p of call) {
    if (p.t === 'text') out.push(...p.d.map(textDelta => ({ type: 'text-delta', textDelta })));
    else if (p.t === 'reasoning') out.push(...p.d.map(textDelta => ({ type: 'reasoning', textDelta })));
    else if (p.t === 'rsig') out.push({ type: 'reasoning-signature', signature: p.s });
    else if (p.t === 'redacted') out.push({ type: 'redacted-reasoning', data: p.data });
    else if (p.t === 'tool' || p.t === 'tool-cut') {
      const head = { toolCallType: 'function', toolCallId: p.id, toolName: p.name };
      out.push(...p.frags.map(argsTextDelta => ({ type: 'tool-call-delta', ...head, argsTextDelta })));
      if (p.t === 'tool') out.push({ type: 'tool-call', ...head, args: p.frags.join('') });
    } else if (p.t === 'source') {
      const title = p.title === undefined ? {} : { title: p.title };
      out.push({ type: 'source', source: { sourceType: 'url', id: p.id, url: p.url, ...title, providerMetadata: PROVIDER } });
    } else if (p.t === 'file') out.push({ type: 'file', mimeType: p.mime, data: p.data });
    else if (p.t === 'error') out.push({ type: 'error', error: new Error(p.m) });
    else if (p.t === 'finish') {
      const usage = { promptTokens: p.u?.in ?? NaN, completionTokens: p.u?.out ?? NaN };
      out.push({ type: 'finish', finishReason: p.r, usage });
    }
  }
  return out;
}

// Specifications v2 (AI SDK 5), v3 (6) and v4 (7): parts are opened and closed.
function partsV2(call, version) {
  const out = [{ type: 'stream-start', warnings: [] }, META];
  let block = 0;
  call.forEach((p, at) => {
    if (p.t === 'text' || p.t === 'reasoning') {
      const id = `${p.t}-${block++}`;
      out.push({ type: `${p.t}-start`, id }, ...p.d.map(delta => ({ type: `${p.t}-delta`, id, delta })));
      const cut = ['error'].includes(call[at + 1]?.t);
      const signature = call[at + 1]?.t === 'rsig' ? { providerMetadata: { mock: { signature: call[at + 1].s } } } : {};
      if (!cut) out.push({ type: `${p.t}-end`, id, ...signature });
      else call[at + 1].close = { type: `${p.t}-end`, id };
    } else if (p.t === 'ptool') {
      const call = { toolCallId: p.id, toolName: p.name, providerExecuted: true };
      out.push({ type: 'tool-input-start', id: p.id, toolName: p.name, providerExecuted: true });
      out.push({ type: 'tool-input-delta', id: p.id, delta: p.input }, { type: 'tool-input-end', id: p.id });
      out.push({ type: 'tool-call', ...call, input: p.input }, { type: 'tool-result', ...call, result: p.result });
    } else if (p.t === 'tool-cut') {
      out.push({ type: 'tool-input-start', id: p.id, toolName: p.name });
      out.push(...p.frags.map(delta => ({ type: 'tool-input-delta', id: p.id, delta })));
      call[at + 1].close = { type: 'tool-input-end', id: p.id };
    } else if (p.t === 'tool') {
      out.push({ type: 'tool-input-start', id: p.id, toolName: p.name });
      out.push(...p.frags.map(delta => ({ type: 'tool-input-delta', id: p.id, delta })));
      out.push({ type: 'tool-input-end', id: p.id });
      out.push({ type: 'tool-call', toolCallId: p.id, toolName: p.name, input: p.frags.join('') });
    } else if (p.t === 'source') {
      const title = p.title === undefined ? {} : { title: p.title };
      out.push({ type: 'source', sourceType: 'url', id: p.id, url: p.url, ...title, providerMetadata: PROVIDER });
    } else if (p.t === 'doc') {
      const { id, title, mediaType, filename } = p;
      out.push({ type: 'source', sourceType: 'document', id, mediaType, title, filename, providerMetadata: PROVIDER });
    } else if (p.t === 'file') {
      out.push({ type: 'file', mediaType: p.mime, data: version === 7 ? { type: 'data', data: p.data } : p.data });
    } else if (p.t === 'error') {
      out.push({ type: 'error', error: new Error(p.m) }, p.close);
    } else if (p.t === 'finish') out.push({ type: 'finish', ...finishOf(p, version) });
  });
  return out;
}

function finishOf({ r, u }, version) {
  if (version === 5) {
    const usage = { inputTokens: u?.in, outputTokens: u?.out, totalTokens: u ? u.in + u.out : undefined };
    return { finishReason: r, usage };
  }
  return {
    finishReason: { unified: r, raw: r },
    usage: { inputTokens: { total: u?.in, noCache: u?.in }, outputTokens: { total: u?.out, text: u?.out } },
  };
}

export function model(version, script, options) {
  let calls = 0;
  const specification = { 3: 'v1', 4: 'v1', 5: 'v2', 6: 'v3', 7: 'v4' }[version];
  return {
    specificationVersion: specification, provider: 'mock', modelId: 'mock-model', supportedUrls: {},
    defaultObjectGenerationMode: 'json',
    async doStream({ abortSignal }) {
      if (options.doStreamThrows) throw new Error(options.doStreamThrows);
      const call = structuredClone(script[calls++]);
      const parts = version < 5 ? partsV1(call) : partsV2(call, version);
      const stream = new ReadableStream({
        async pull(controller) {
          await new Promise(resolve => setImmediate(resolve)); // one part per turn, so that an abort lands in between
          if (abortSignal?.aborted) controller.error(abortSignal.reason);
          else if (parts.length) controller.enqueue(parts.shift());
          else controller.close();
        },
      }, { highWaterMark: 0 });
      return { stream, rawCall: { rawPrompt: null, rawSettings: {} } };
    },
  };
}
