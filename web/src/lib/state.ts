/**
 * The conversation and its settings: one state, one reducer, and the request body made from them.
 *
 * Pure: ids and times come in with the actions. Sending lives in lib/useChat.ts.
 */
import { emptyReply, type Reply } from "./reply";

export interface UserTurn {
  id: string;
  role: "user";
  text: string;
}

export interface AssistantTurn {
  id: string;
  role: "assistant";
  /** The model asked; `reply.model` is the one that answered. */
  model: string;
  reply: Reply;
  /** What the user gave back for each tool call, by its index. */
  results: Record<number, string>;
}

export type Turn = UserTurn | AssistantTurn;

export interface Settings {
  model: string;
  system: string;
  /** null: the field is not sent, the model's own default holds. */
  temperature: number | null;
  maxTokens: number | null;
  toolsOn: boolean;
  /** JSON text, as the user typed it. */
  tools: string;
}

export interface ChatState {
  turns: Turn[];
  /** The assistant turn being streamed. */
  running: string | null;
}

export const EMPTY_CHAT: ChatState = { turns: [], running: null };

export const EXAMPLE_TOOLS = JSON.stringify(
  [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "Current weather of a city",
        parameters: {
          type: "object",
          properties: { city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
          required: ["city"],
        },
      },
    },
  ],
  null,
  2,
);

export const DEFAULT_SETTINGS: Settings = {
  model: "",
  system: "",
  temperature: null,
  maxTokens: null,
  toolsOn: false,
  tools: EXAMPLE_TOOLS,
};

export type Action =
  | { type: "send"; userId: string; replyId: string; text: string; model: string; at: number }
  /** Answer again from the turn before this assistant turn; what came after is dropped. */
  | { type: "retry"; turnId: string; replyId: string; model: string; at: number }
  /** Change a user turn and answer it again; what came after is dropped. */
  | { type: "edit"; turnId: string; replyId: string; text: string; model: string; at: number }
  | { type: "tool_results"; turnId: string; replyId: string; results: Record<number, string>; model: string; at: number }
  | { type: "progress"; replyId: string; reply: Reply }
  | { type: "end"; replyId: string; reply: Reply }
  | { type: "clear" };

export function reduce(state: ChatState, action: Action): ChatState {
  switch (action.type) {
    case "send": {
      const user: UserTurn = { id: action.userId, role: "user", text: action.text };
      return begin([...state.turns, user], action);
    }
    case "retry": {
      const at = state.turns.findIndex((turn) => turn.id === action.turnId && turn.role === "assistant");
      return at < 1 ? state : begin(state.turns.slice(0, at), action);
    }
    case "edit": {
      const at = state.turns.findIndex((turn) => turn.id === action.turnId && turn.role === "user");
      if (at < 0) return state;
      const user: UserTurn = { id: action.turnId, role: "user", text: action.text };
      return begin([...state.turns.slice(0, at), user], action);
    }
    case "tool_results": {
      const at = state.turns.findIndex((turn) => turn.id === action.turnId);
      const turn = state.turns[at];
      if (turn?.role !== "assistant") return state;
      return begin([...state.turns.slice(0, at), { ...turn, results: action.results }], action);
    }
    case "progress":
      return state.running === action.replyId ? withReply(state, action.replyId, action.reply) : state;
    case "end": {
      const next = withReply(state, action.replyId, action.reply);
      return next.running === action.replyId ? { ...next, running: null } : next;
    }
    case "clear":
      return EMPTY_CHAT;
  }
}

function begin(turns: Turn[], action: { replyId: string; model: string; at: number }): ChatState {
  const assistant: AssistantTurn = {
    id: action.replyId,
    role: "assistant",
    model: action.model,
    reply: emptyReply(action.at),
    results: {},
  };
  return { turns: [...turns, assistant], running: action.replyId };
}

function withReply(state: ChatState, replyId: string, reply: Reply): ChatState {
  const at = state.turns.findIndex((turn) => turn.id === replyId);
  const turn = state.turns[at];
  if (turn?.role !== "assistant") return state;
  return { ...state, turns: state.turns.with(at, { ...turn, reply }) };
}

export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string | null;
  tool_calls?: { id: string; type: "function"; function: { name: string; arguments: string } }[];
  tool_call_id?: string;
}

export interface ChatRequest {
  model: string;
  messages: ChatMessage[];
  temperature?: number;
  max_tokens?: number;
  tools?: unknown[];
  stream: true;
  stream_options: { include_usage: true };
}

/** The body of `POST /v1/chat/completions` for these turns; a last assistant turn that is still empty is left out. */
export function chatRequest(turns: readonly Turn[], settings: Settings): ChatRequest {
  const messages: ChatMessage[] = [];
  if (settings.system.trim()) messages.push({ role: "system", content: settings.system });
  for (const turn of turns) {
    if (turn.role === "user") messages.push({ role: "user", content: turn.text });
    else messages.push(...assistantMessages(turn));
  }
  const request: ChatRequest = { model: settings.model, messages, stream: true, stream_options: { include_usage: true } };
  if (settings.temperature !== null) request.temperature = settings.temperature;
  if (settings.maxTokens !== null) request.max_tokens = settings.maxTokens;
  const tools = settings.toolsOn ? parseTools(settings.tools) : null;
  if (tools?.ok && tools.tools.length > 0) request.tools = tools.tools;
  return request;
}

function assistantMessages(turn: AssistantTurn): ChatMessage[] {
  const { reply } = turn;
  const text = reply.text || reply.refusal;
  const calls = reply.ending?.kind === "finished" ? reply.tools : [];
  if (!text && calls.length === 0) return [];
  const message: ChatMessage = { role: "assistant", content: text || null };
  if (calls.length === 0) return [message];
  const id = (index: number, given: string) => given || `call_${index}`;
  message.tool_calls = calls.map((call) => ({
    id: id(call.index, call.id),
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  // Every call needs an answer, or providers refuse the whole conversation.
  const answers = calls.map((call): ChatMessage => ({
    role: "tool",
    tool_call_id: id(call.index, call.id),
    content: turn.results[call.index] || "(no result given)",
  }));
  return [message, ...answers];
}

export type ParsedTools = { ok: true; tools: unknown[] } | { ok: false; message: string };

export function parseTools(text: string): ParsedTools {
  if (text.trim() === "") return { ok: true, tools: [] };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, message: `Not valid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (!Array.isArray(value)) return { ok: false, message: "Expected a JSON array of tools." };
  const bad = value.findIndex((tool) => typeof tool?.function?.name !== "string");
  if (bad >= 0) return { ok: false, message: `Tool ${bad + 1} has no "function" with a "name".` };
  return { ok: true, tools: value };
}
