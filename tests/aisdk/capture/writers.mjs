// The writers: custom data, annotations, sources and metadata around a merged model stream.
import { model } from './models.mjs';

const SCRIPT = [[{ t: 'text', d: ['mer', 'ged'] }, { t: 'finish', r: 'stop', u: { in: 1, out: 1 } }]];

async function respond4(sdk) {
  return sdk.createDataStreamResponse({
    status: 201, headers: { 'x-extra': 'yes' },
    execute(writer) {
      writer.writeData({ progress: 1 });
      writer.writeData('text');
      writer.writeMessageAnnotation({ note: 'n1' });
      writer.writeSource({ sourceType: 'url', id: 's9', url: 'https://example.com/w' });
      writer.write(sdk.formatDataStreamPart('text', 'by hand '));
      sdk.streamText({
        model: model(4, SCRIPT, {}), prompt: 'x', experimental_generateMessageId: () => 'msg-0',
        onFinish() { writer.writeData({ progress: 2 }); writer.writeMessageAnnotation({ note: 'n2' }); },
      }).mergeIntoDataStream(writer);
    },
  });
}

async function respond5(sdk, version, fails) {
  return sdk.createUIMessageStreamResponse({
    stream: sdk.createUIMessageStream({
      async execute({ writer }) {
        writer.write({ type: 'start', messageId: 'm-1', messageMetadata: { a: 1 } });
        writer.write({ type: 'data-status', id: 'st', data: { pct: 10 } });
        writer.write({ type: 'data-notify', data: { level: 'info' }, transient: true });
        writer.write({ type: 'data-status', id: 'st', data: { pct: 100 } });
        writer.write({ type: 'source-url', sourceId: 's9', url: 'https://example.com/w', title: 'W' });
        writer.write({ type: 'message-metadata', messageMetadata: { b: { c: 2 } } });
        if (fails) throw new Error('secret failure of the writer');
        const result = sdk.streamText({ model: model(version, SCRIPT, {}), prompt: 'x', _internal: { generateId: () => 'gen-0' } });
        writer.merge(result.toUIMessageStream({ sendStart: false }));
      },
    }),
  });
}

export async function captureWriters(version, sdk) {
  const out = [];
  for (const name of version === 4 ? ['writer'] : ['writer', 'writer-fails']) {
    const response = version === 4 ? await respond4(sdk) : await respond5(sdk, version, name === 'writer-fails');
    const headers = Object.fromEntries([...response.headers].sort());
    out.push({ name, status: response.status, headers, wire: await response.text() });
  }
  return out;
}
