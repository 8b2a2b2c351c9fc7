// Behaviour tables of two parsers: partial JSON (version 6) and data stream lines (version 4).

const WHOLE = [
  '{"a":1,"b":[1,2,{"c":"x\\n\\u00e9\\ud83d\\ude00"}],"d":null,"e":true,"f":-1.5e+10}',
  '[1,-2,"x",[],{},[[]],false]', ' {"k" : "v" , "n" : [ ] } ', '"str\\u0041"', '-12.5', 'true',
];
const ODD = [
  '', ' ', '-', '[-', '{"a":-', '[1,-', 'nul', 'nope', "{'a':1", "{'a':1,\"b\":2", '{"a":trx', '{"a":1}x', '[1 2', '01', '[01',
  '{"a":1e', '{"a":1.', '{"a":1.5e-', '{"a":"x\\', '{"a":"x\\q', '{"a":"line\nbreak', '{"a":1,}', '[1,]', '{"a":}', '{"a" 1',
  '{"__proto__":{"x":1}}', '{"__proto__":', '{"constructor":{"prototype":1}}', '{"constructor":1}', '{"a":"x","a":"y', '{"a"::1', '{,',
];

export async function captureTables({ ai6, ui4 }) {
  const texts = [...new Set([...WHOLE.flatMap(text => [...text].map((_, at) => [...text].slice(0, at + 1).join(''))), ...ODD])];
  const partial = [];
  for (const text of texts) {
    const { value, state } = await ai6.parsePartialJson(text);
    partial.push(value === undefined ? { text, state } : { text, value, state });
  }
  const lines = [
    '0:"ok"', '0:"a:b"', '0: "x"', '0:', '0:1', 'x', '1:{}', 'z:1', '2:[1]', '2:{}', '3:"e"', '3:{}', '8:[1]', '8:1',
    '9:{"toolCallId":"a","toolName":"b","args":{"x":1}}', '9:{"toolCallId":"a","toolName":"b","args":"{}"}', '9:{"toolCallId":"a"}',
    'a:{"toolCallId":"a","result":null}', 'a:{"toolCallId":"a"}', 'b:{"toolCallId":"a","toolName":"b"}', 'b:{"toolCallId":1,"toolName":"b"}',
    'c:{"toolCallId":"a","argsTextDelta":"x"}', 'c:{"toolCallId":"a"}', 'd:{"finishReason":"stop"}', 'd:{"finishReason":"stop","usage":{"promptTokens":1,"completionTokens":2}}',
    'd:{"finishReason":"stop","usage":{"promptTokens":null,"completionTokens":null}}', 'd:{}', 'e:{"finishReason":"stop","isContinued":true}', 'e:{"finishReason":"stop"}', 'e:[]',
    'f:{"messageId":"m","x":1}', 'f:{}', 'g:"r"', 'g:{}', 'h:{"sourceType":"url","id":"1","url":"u"}', 'h:1', 'i:{"data":"d","x":1}', 'i:{}', 'j:{"signature":"s"}', 'j:"s"',
    'k:{"data":"x","mimeType":"y"}', 'k:{"data":"x"}',
  ];
  const parse_part = lines.map(line => {
    try {
      return { line, part: JSON.parse(JSON.stringify(ui4.parseDataStreamPart(line))) }; // NaN becomes null
    } catch (error) {
      return { line, error: error.message };
    }
  });
  return { partial_json: partial, parse_part };
}
