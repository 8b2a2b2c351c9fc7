// What every generation of the AI SDK is made to stream. Neutral: `models.mjs` turns the scripts into each version's
// model stream parts. A script is a list of model calls, each a list of parts:
//   {t:'text'|'reasoning', d:[deltas]}  {t:'rsig', s}  {t:'tool', id, name, frags:[json fragments]}
//   {t:'source', id, url, title?}  {t:'doc', id, title, mediaType, filename}  {t:'file', mime, data}
//   {t:'ptool', id, name, input, result} (run by the provider)  {t:'redacted', data}  {t:'tool-cut', id, name, frags}
//   {t:'error', m}  {t:'finish', r, u:{in, out}|null}
// `versions` limits a scenario; `text: true` captures the text stream response too.

const finish = (r = 'stop', i = 5, o = 4) => ({ t: 'finish', r, u: { in: i, out: o } });
const text = (...d) => ({ t: 'text', d });
const GIF = 'R0lGODlhAQABAAAAACw=';
const lookUp = (city, id = 'call_1') => ({
  t: 'tool', id, name: 'weather', frags: ['{"ci', `ty":"${city}`, '"}'],
});

export const SCENARIOS = [
  { name: 'plain', text: true, script: [[text('Good', ' ', 'morning', '.'), finish('stop', 7, 3)]] },
  { name: 'empty-deltas', script: [[text('', 'x', '', 'y'), finish()]] },
  { name: 'unicode', text: true, script: [[text('zażółć ', '👩‍👩‍👧', '\u2028\u2029\u0085', '"\\/\b\f\n\r\t\u0001\u007f</script>'), finish()]] },
  { name: 'length', script: [[text('and so'), finish('length')]] },
  { name: 'content-filter', script: [[text('no'), finish('content-filter')]] },
  { name: 'finish-other', script: [[text('hm'), finish('other')]] },
  { name: 'usage-unknown', script: [[text('x'), { t: 'finish', r: 'stop', u: null }]] },
  { name: 'no-text', script: [[finish()]] },
  { name: 'reasoning', options: { sendReasoning: true }, text: true,
    script: [[{ t: 'reasoning', d: ['Let me ', 'think'] }, { t: 'rsig', s: 'sig+/=' }, text('So.'), finish()]] },
  { name: 'reasoning-hidden', options: { sendReasoning: false },
    script: [[{ t: 'reasoning', d: ['secret'] }, text('So.'), finish()]] },
  { name: 'sources', options: { sendSources: true },
    script: [[text('From '), { t: 'source', id: 's1', url: 'https://example.com/1', title: 'One' }, text('here'),
      { t: 'source', id: 's2', url: 'https://example.com/2' }, finish()]] },
  { name: 'sources-hidden', script: [[text('From '), { t: 'source', id: 's1', url: 'https://example.com/1' }, finish()]] },
  { name: 'document-source', versions: [5, 6, 7], options: { sendSources: true },
    script: [[text('See'), { t: 'doc', id: 'd1', title: 'Paper', mediaType: 'application/pdf', filename: 'p.pdf' }, finish()]] },
  { name: 'file', script: [[text('Picture: '), { t: 'file', mime: 'image/gif', data: GIF }, text('done'), finish()]] },
  { name: 'tool-multistep', options: { maxSteps: 4, tools: ['weather'] }, text: true,
    script: [[text('Looking. '), lookUp('Oslo'), finish('tool-calls', 20, 9)],
      [lookUp('Bergen', 'call_2'), finish('tool-calls', 30, 9)], [text('It is ', '21°.'), finish('stop', 40, 7)]] },
  { name: 'tool-multistep-streamed', options: { maxSteps: 3, tools: ['weather'], toolCallStreaming: true },
    script: [[lookUp('Oslo'), finish('tool-calls', 20, 9)], [text('Done.'), finish('stop', 40, 7)]] },
  { name: 'tool-parallel', options: { maxSteps: 2, tools: ['weather', 'add', 'ping'] },
    script: [[lookUp('Slowville'), { t: 'tool', id: 'call_2', name: 'add', frags: ['{"a":1,', '"b":2}'] },
      { t: 'tool', id: 'call_3', name: 'ping', frags: ['{}'] }, finish('tool-calls')], [text('All.'), finish()]] },
  { name: 'tool-max-steps', options: { tools: ['weather'] }, script: [[text('Hm. '), lookUp('Oslo'), finish('tool-calls')]] },
  { name: 'tool-client-side', options: { tools: ['askUser'], maxSteps: 3, toolCallStreaming: true },
    script: [[{ t: 'tool', id: 'call_q', name: 'askUser', frags: ['{"question":', '"Really?"}'] }, finish('tool-calls')]] },
  { name: 'tool-error', options: { maxSteps: 2, tools: ['failing'] },
    script: [[{ t: 'tool', id: 'f1', name: 'failing', frags: ['{}'] }, finish('tool-calls')], [text('It failed.'), finish()]] },
  { name: 'tool-error-shown', options: { maxSteps: 2, tools: ['failing'], onError: true },
    script: [[{ t: 'tool', id: 'f1', name: 'failing', frags: ['{}'] }, finish('tool-calls')], [text('It failed.'), finish()]] },
  { name: 'tool-invalid-args', options: { maxSteps: 2, tools: ['weather'] },
    script: [[{ t: 'tool', id: 'w1', name: 'weather', frags: ['{"town":', '5}'] }, finish('tool-calls')], [text('Sorry.'), finish()]] },
  { name: 'tool-unknown', options: { maxSteps: 2, tools: ['weather'] },
    script: [[{ t: 'tool', id: 'n1', name: 'nosuch', frags: ['{"a":1}'] }, finish('tool-calls')], [text('Sorry.'), finish()]] },
  { name: 'tool-by-provider', versions: [5, 6, 7], options: { maxSteps: 2, tools: ['search'] },
    script: [[{ t: 'ptool', id: 's1', name: 'search', input: '{"q":"x"}', result: { hits: 1 } }, text('Found.'), finish()]] },
  { name: 'tool-preliminary', versions: [5, 6, 7], options: { maxSteps: 2, tools: ['progress'] },
    script: [[{ t: 'tool', id: 'p1', name: 'progress', frags: ['{}'] }, finish('tool-calls')], [text('100.'), finish()]] },
  { name: 'tool-dynamic', versions: [5, 6, 7], options: { maxSteps: 2, tools: ['dyn'] },
    script: [[{ t: 'tool', id: 'd1', name: 'dyn', frags: ['{"x":', '1}'] }, finish('tool-calls')], [text('Two.'), finish()]] },
  { name: 'approval-request', versions: [6, 7], options: { maxSteps: 2, tools: ['danger'] },
    script: [[{ t: 'tool', id: 'a1', name: 'danger', frags: ['{"path":"/tmp/x"}'] }, finish('tool-calls')]] },
  { name: 'approval-granted', versions: [6, 7], options: { maxSteps: 2, tools: ['danger'], approval: true },
    script: [[text('Removed.'), finish()]] },
  { name: 'approval-denied', versions: [6, 7], options: { maxSteps: 2, tools: ['danger'], approval: false },
    script: [[text('Kept.'), finish()]] },
  { name: 'error-mid-stream', text: true,
    script: [[text('Half '), { t: 'error', m: 'secret upstream detail' }, { t: 'finish', r: 'error', u: { in: 5, out: 1 } }]] },
  { name: 'error-shown', options: { onError: true },
    script: [[text('Half '), { t: 'error', m: 'the real reason' }, { t: 'finish', r: 'error', u: { in: 5, out: 1 } }]] },
  { name: 'error-before-stream', options: { doStreamThrows: 'connection refused' }, script: [[]] },
  { name: 'error-in-tool-input', options: { tools: ['weather'] },
    script: [[{ t: 'tool-cut', id: 'w1', name: 'weather', frags: ['{"ci'] }, { t: 'error', m: 'secret' }, { t: 'finish', r: 'error', u: { in: 5, out: 1 } }]] },
  { name: 'error-after-reasoning', options: { sendReasoning: true },
    script: [[{ t: 'reasoning', d: ['hm'] }, { t: 'error', m: 'secret' }, { t: 'finish', r: 'error', u: { in: 5, out: 1 } }]] },
  { name: 'error-in-second-step', options: { maxSteps: 3, tools: ['weather'] },
    script: [[lookUp('Oslo'), finish('tool-calls', 20, 9)], [text('It'), { t: 'error', m: 'secret' }, { t: 'finish', r: 'error', u: { in: 30, out: 1 } }]] },
  { name: 'redacted-reasoning', versions: [4], options: { sendReasoning: true },
    script: [[{ t: 'reasoning', d: ['a'] }, { t: 'rsig', s: 's' }, { t: 'redacted', data: 'blob' }, text('So.'), finish()]] },
  { name: 'abort-in-second-step', options: { maxSteps: 3, tools: ['weather'], abortAfter: 1 },
    script: [[lookUp('Oslo'), finish('tool-calls', 20, 9)], [text('one ', 'two '), finish()]] },
  { name: 'abort', options: { abortAfter: 2 }, script: [[text('one ', 'two ', 'three ', 'four'), finish()]] },
  { name: 'send-finish-false', options: { sendFinish: false }, script: [[text('part of a whole'), finish()]] },
  { name: 'send-start-false', versions: [5, 6, 7], options: { sendStart: false }, script: [[text('part of a whole'), finish()]] },
  { name: 'send-usage-false', versions: [4], options: { sendUsage: false }, script: [[text('x'), finish()]] },
  { name: 'message-id', versions: [5, 6, 7], options: { persist: 'user' }, script: [[text('named'), finish()]] },
  { name: 'message-metadata', versions: [5, 6, 7], options: { metadata: true }, script: [[text('described'), finish()]] },
];

const SDK3 = ['plain', 'unicode', 'length', 'tool-multistep', 'tool-max-steps', 'tool-client-side', 'error-mid-stream'];

export function scenariosOf(version) {
  return SCENARIOS.filter(s => (version === 3 ? SDK3.includes(s.name) : (s.versions ?? [4, 5, 6, 7]).includes(version)));
}
