/** The page before the first message: what this is, what the chosen model is, and prompts to start with. */
import { modelNote, providerOf } from "../lib/models";
import { Icon, Logo } from "./icons";

interface Example {
  title: string;
  prompt: string;
}

const ABOUT_PROJECT: Example[] = [
  { title: "The project", prompt: "What is streamward?" },
  { title: "Endings", prompt: "How does a stream tell the truth about how it ended?" },
  { title: "Getting started", prompt: "How do I start the gateway?" },
  { title: "Streaming", prompt: "What is a server-sent event?" },
];

const GENERAL: Example[] = [
  { title: "Explain", prompt: "Explain how tokens stream from a model to a browser, step by step." },
  { title: "Write code", prompt: "Write a Python function that reads server-sent events from an HTTP response." },
  { title: "Compare", prompt: "Compare server-sent events, WebSockets and long polling in a table." },
  { title: "Create", prompt: "Write a short poem about a river that never loses a drop." },
];

interface Props {
  model: string;
  onPick: (prompt: string) => void;
}

export function EmptyState({ model, onPick }: Props) {
  const note = modelNote(model);
  const examples = providerOf(model) === "local" && note ? ABOUT_PROJECT : GENERAL;
  return (
    <section className="empty" aria-labelledby="empty-title">
      <Logo />
      <h2 id="empty-title">What shall we stream?</h2>
      <p className="empty-lead">Ask any model on this server. Open the frame inspector to watch each event arrive.</p>
      {note && (
        <p className={`note note-${note.kind}`} role="note">
          <Icon name="info" size={17} />
          <span>{note.text}</span>
        </p>
      )}
      {model && (
        <ul className="examples">
          {examples.map((example) => (
            <li key={example.title}>
              <button type="button" onClick={() => onPick(example.prompt)}>
                <strong>{example.title}</strong>
                <span>{example.prompt}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
