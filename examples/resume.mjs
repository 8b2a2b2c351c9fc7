// A chat stream that survives lost connections, in plain JavaScript: browsers, Node, Deno. No packages.
//
//   node examples/resume.mjs http://127.0.0.1:8787/v1 demo/lorem "Hello"
//
// The gateway numbers the frames of a durable stream. Whoever comes back says which number came last and gets the next
// one, from any worker; a frame is used only when it is whole.

const ENDED = new Set([400, 401, 403, 404, 409, 410, 422]); // these answers do not change by asking again

/** Frames of a fetch response: `{ id, data }`, whole ones only. */
async function* frames(response) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = name => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field('data') !== undefined) yield { id: field('id'), data: field('data') };
    }
  }
}

/**
 * Yield the text of one answer, each piece once, however often the connection breaks.
 * Throws when the answer itself failed, or cannot be had any more.
 */
export async function* streamText(baseURL, body, { apiKey = '', reconnects = 5 } = {}) {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const first = { ...headers, 'x-streamward-resumable': '1', 'idempotency-key': crypto.randomUUID() };
  let stream = null; // its id, as soon as it is known
  let last = -1; // the number of the last whole frame
  for (let failures = 0; ; ) {
    try {
      const response = stream
        ? await fetch(`${baseURL}/streams/${stream}?after=${last}`, { headers })
        : await fetch(`${baseURL}/chat/completions`, { method: 'POST', headers: first, body: JSON.stringify({ ...body, stream: true }) });
      if (!response.ok) {
        const { error } = await response.json();
        throw Object.assign(new Error(error.message), { final: ENDED.has(response.status) });
      }
      stream = response.headers.get('x-streamward-stream-id');
      for await (const { id, data } of frames(response)) {
        failures = 0;
        last = Number(id);
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw Object.assign(new Error(chunk.error.message), { final: true });
        const text = chunk.choices?.[0]?.delta?.content;
        if (text) yield text;
      }
      throw new Error('the connection ended before the answer did');
    } catch (error) {
      if (error.final || ++failures > reconnects) throw error;
      await new Promise(resolve => setTimeout(resolve, 100 * 2 ** failures));
    }
  }
}

if (typeof process !== 'undefined' && process.argv[1]?.endsWith('resume.mjs')) {
  const [baseURL, model, question] = process.argv.slice(2);
  try {
    for await (const text of streamText(baseURL, { model, messages: [{ role: 'user', content: question }] })) process.stdout.write(text);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
