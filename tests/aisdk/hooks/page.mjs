// The smallest chat page of AI SDK 4 or 7, for a browser: ?version=4&model=stepped

import React from 'react';
import { createRoot } from 'react-dom/client';
import * as react4 from 'react4';
import * as react7 from 'react7';
import { DefaultChatTransport } from 'ai7';

const query = new URLSearchParams(location.search);
const model = query.get('model');
const h = React.createElement;

function Page({ answer, status, send, stop }) {
  return h('main', null, h('button', { id: 'send', onClick: send }, 'Send'), h('button', { id: 'stop', onClick: stop }, 'Stop'), h('p', { id: 'answer' }, answer), h('p', { id: 'status' }, status));
}

function Chat4() {
  const chat = react4.useChat({ api: '/v4/api/chat', body: { model } });
  const last = chat.messages.at(-1);
  return h(Page, { answer: last?.role === 'assistant' ? last.content : '', status: chat.status, stop: chat.stop, send: () => chat.append({ role: 'user', content: 'hi' }) });
}

const transport = new DefaultChatTransport({ api: '/v7/api/chat', body: { model } });

function Chat7() {
  const chat = react7.useChat({ transport });
  const last = chat.messages.at(-1);
  const text = last?.role === 'assistant' ? last.parts.filter(p => p.type === 'text').map(p => p.text).join('') : '';
  return h(Page, { answer: text, status: chat.status, stop: chat.stop, send: () => chat.sendMessage({ text: 'hi' }) });
}

createRoot(document.getElementById('root')).render(h(query.get('version') === '4' ? Chat4 : Chat7));
