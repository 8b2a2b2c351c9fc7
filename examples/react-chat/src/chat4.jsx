import { useChat } from 'ai-sdk-react-4';
import { createRoot } from 'react-dom/client';

function Chat() {
  const { messages, input, handleInputChange, handleSubmit, status, stop, error } = useChat({ api: '/api/v4/chat' });
  return (
    <main>
      {messages.map(message => <p key={message.id} className={message.role}>{message.content}</p>)}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={handleSubmit}>
        <input value={input} onChange={handleInputChange} aria-label="Message" />
        <button type="submit" disabled={status !== 'ready'}>Send</button>
        <button type="button" onClick={stop}>Stop</button>
      </form>
    </main>
  );
}

createRoot(document.getElementById('root')).render(<Chat />);
