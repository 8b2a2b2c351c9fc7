// OpenAIStream and StreamData of version 2, and its line parser.

const chunk = (delta, finish_reason = null) => ({
  id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }],
});
const tool = (index, id, name, args) => chunk({ tool_calls: [{ index, ...(id ? { id, type: 'function' } : {}), function: { ...(name ? { name } : {}), arguments: args } }] });

const INPUTS = {
  'text': [chunk({ role: 'assistant', content: '' }), chunk({ content: ' \n\u00a0' }), chunk({ content: '\n Hi' }), chunk({ content: ' there 👋\u2028' }), chunk({}, 'stop')],
  'completion': [{ choices: [{ text: '\n\na' }] }, { choices: [{ text: ' b' }] }, { choices: [{ text: '' }] }],
  'function-call': [chunk({ role: 'assistant', content: null, function_call: { name: 'weather', arguments: '' } }),
    chunk({ function_call: { arguments: '{\n "ci' } }), chunk({ function_call: { arguments: 'ty": "A\\t/\\"x\\" ż"}' } }), chunk({}, 'function_call')],
  'tool-calls': [tool(0, 'call_1', 'weather', ''), tool(0, null, null, '{"a":'), tool(0, null, null, '"\\n"}'), tool(1, 'call_2', 'time', ''), tool(1, null, null, '{}'), chunk({}, 'tool_calls')],
};

const LINES = [
  '0:"x"', '0:1', 'x', '9:{}', '1:{"function_call":{"name":"f","arguments":"{}"}}', '1:{"function_call":{"name":"f"}}', '2:[1]', '2:1', '3:"e"', '3:[]',
  '4:{"id":"a","role":"assistant","content":[{"type":"text","text":{"value":"v"}}]}', '4:{"id":"a","role":"user","content":[]}', '5:{"threadId":"t","messageId":"m"}', '5:{}',
  '6:{"role":"data","data":null}', '6:{"role":"x","data":1}', '7:{"tool_calls":[]}', '7:{}', '8:[{}]', '8:{}',
];

export async function captureLegacy(ai2) {
  const streams = [];
  for (const [name, input_chunks] of Object.entries(INPUTS)) {
    const response = new Response(input_chunks.map(c => `data: ${JSON.stringify(c)}\n\n`).join('') + 'data: [DONE]\n\n');
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const chunks = [];
    for await (const piece of ai2.OpenAIStream(response)) chunks.push(decoder.decode(piece));
    streams.push({ name, input_chunks, chunks });
  }
  const data = new ai2.experimental_StreamData();
  data.append({ first: true });
  const complex = new ai2.StreamingTextResponse(
    ai2.OpenAIStream(new Response(INPUTS.text.map(c => `data: ${JSON.stringify(c)}\n\n`).join('')), {
      experimental_streamData: true, onFinal() { data.append('end'); data.appendMessageAnnotation({ m: 1 }); data.close(); },
    }), {}, data);
  const headers = Object.fromEntries([...complex.headers].sort());
  const lines = LINES.map(line => {
    try {
      return { line, ...ai2.createChunkDecoder(true)(new TextEncoder().encode(line))[0] };
    } catch (error) {
      return { line, error: error.message };
    }
  });
  return { streams, complex: { headers, wire: await complex.text() }, lines };
}
