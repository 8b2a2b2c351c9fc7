import { useCompletion } from '@ai-sdk/react';

export default function Completion() {
  const { completion, input, handleInputChange, handleSubmit, isLoading, stop, error } = useCompletion(); // /api/completion
  return (
    <main>
      <p className="assistant">{completion}</p>
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={handleSubmit}>
        <input value={input} onChange={handleInputChange} aria-label="Message" />
        <button type="submit" disabled={isLoading}>Send</button>
        <button type="button" onClick={stop}>Stop</button>
      </form>
    </main>
  );
}
