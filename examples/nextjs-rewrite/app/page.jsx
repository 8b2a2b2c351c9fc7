'use client';

import { useChat } from '@ai-sdk/react';
import { useState } from 'react';

const textOf = message => message.parts.filter(part => part.type === 'text').map(part => part.text).join('');

export default function Chat() {
  const [input, setInput] = useState('');
  const { messages, sendMessage, status, stop, error } = useChat(); // posts to /api/chat
  const send = event => {
    event.preventDefault();
    sendMessage({ text: input });
    setInput('');
  };
  return (
    <main>
      {messages.map(message => <p key={message.id} className={message.role}>{textOf(message)}</p>)}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send}>
        <input value={input} onChange={event => setInput(event.target.value)} aria-label="Message" />
        <button type="submit" disabled={status !== 'ready'}>Send</button>
        <button type="button" onClick={stop}>Stop</button>
      </form>
    </main>
  );
}
