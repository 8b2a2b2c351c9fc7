// The AI SDK's Google provider reads a recorded Gemini stream: node google.mjs ORIGIN
import { streamText, tool, jsonSchema } from "ai";
import { createGoogleGenerativeAI } from "@ai-sdk/google";

const google = createGoogleGenerativeAI({ baseURL: `${process.argv[2]}/v1beta`, apiKey: "k" });
const any = () => tool({ inputSchema: jsonSchema({ type: "object" }) });
const result = streamText({ model: google("gemini-3-flash"), prompt: "Hello", maxRetries: 0, tools: { weather: any(), now: any(), search: any() } });
const calls = [];
for await (const part of result.stream ?? result.fullStream) {
  if (part.type === "tool-call") calls.push({ name: part.toolName, input: part.input });
  if (part.type === "error") throw part.error;
}
console.log(JSON.stringify({
  text: await result.text, reasoning: (await result.reasoningText) ?? null, calls, finish: await result.finishReason, usage: await result.totalUsage,
}));
