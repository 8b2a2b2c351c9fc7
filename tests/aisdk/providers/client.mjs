// One provider package of the AI SDK against a running server: what each call gave, as JSON.
// node client.mjs PROVIDER ORIGIN KEY
import { generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const [provider, origin, key] = process.argv.slice(2);
const baseURL = `${origin}/v1`;
const models = {
  "openai.chat": (apiKey) => createOpenAI({ baseURL, apiKey }).chat,
  "openai.responses": (apiKey) => createOpenAI({ baseURL, apiKey }).responses,
  "openai-compatible": (apiKey) => createOpenAICompatible({ name: "streamward", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true }),
  "open-responses": (apiKey) => createOpenResponses({ name: "streamward", url: `${baseURL}/responses`, apiKey }),
  anthropic: (apiKey) => createAnthropic({ baseURL, apiKey }),
}[provider];
const model = models(key);
const FAST = "?tps=0&ttft_ms=0";
const found = {};

async function streamed(options) {
  const parts = [];
  let error = null;
  const result = streamText({ maxRetries: 0, onError: ({ error: seen }) => { error = seen; }, ...options });
  for await (const part of result.stream ?? result.fullStream) parts.push(part.type);
  const settled = async (value) => { try { return await value; } catch (failure) { return { failed: failure.name }; } };
  return {
    parts, text: await settled(result.text), reasoning: await settled(result.reasoningText),
    usage: await settled(result.totalUsage ?? result.usage), finish: await settled(result.finishReason),
    error: error && { name: error.name ?? null, message: String(error.message ?? error) },
  };
}

async function failing(run) {
  try {
    await run();
    return null;
  } catch (error) {
    return { name: error.name, message: error.message, status: error.statusCode };
  }
}

const weather = tool({
  description: "Looks the weather up.",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
  execute: async (input) => ({ seen: input, mild: true }),
});
const schema = jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false });
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

found.text = await streamed({ model: model(`demo/chat${FAST}`), prompt: "Hello" });
found.reasoning = await streamed({ model: model(`demo/reasoning${FAST}`), prompt: "Think" });
found.tools = await streamed({ model: model(`demo/tools${FAST}`), prompt: "Weather in Paris?", tools: { weather }, stopWhen: isStepCount(3) });
const whole = await generateText({ model: model(`demo/chat${FAST}`), prompt: "Hello", maxRetries: 0 });
found.whole = { text: whole.text, finish: whole.finishReason, usage: whole.usage };
found.truncated = await streamed({ model: model(`demo/fail${FAST}&fail_after=3&fail_with=truncate`), prompt: "Hello" });
found.errored = await streamed({ model: model(`demo/fail${FAST}&fail_after=3&fail_with=error`), prompt: "Hello" });
found.unknown = await failing(() => generateText({ model: model("nobody/knows"), prompt: "Hello", maxRetries: 0 }));
found.stranger = await failing(() => generateText({ model: models("wrong")("demo/chat"), prompt: "Hello", maxRetries: 0 }));
// What the provider behind the gateway is asked for: a picture, settings, an earlier call; then a schema.
const asked = await generateText({
  model: model("mock/m"), maxRetries: 0, temperature: 0.5, maxOutputTokens: 50,
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "What?" }, { type: "file", data: Buffer.from(PNG, "base64"), mediaType: "image/png" }] },
    { role: "assistant", content: [{ type: "tool-call", toolCallId: "c1", toolName: "weather", input: { city: "Oslo" } }] },
    { role: "tool", content: [{ type: "tool-result", toolCallId: "c1", toolName: "weather", output: { type: "json", value: { mild: false } } }] },
  ],
  tools: { weather }, toolChoice: "auto", allowSystemInMessages: true,
});
found.asked = { text: asked.text, finish: asked.finishReason };
found.object = (await generateText({ model: model("mock/json"), output: Output.object({ schema }), prompt: "Where?", maxRetries: 0 })).output;
console.log(JSON.stringify(found));
