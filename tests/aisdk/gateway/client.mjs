// The AI SDK's own gateway provider, one generation, against a running gateway: what each call gave, as JSON.
// node client.mjs MAJOR ORIGIN KEY
const [major, origin, apiKey] = process.argv.slice(2);
const { createGateway, generateText, generateObject, streamText, tool, jsonSchema, stepCountIs, isStepCount, Output } = await import(`ai${major}`);
const base = { 5: "v1", 6: "v3", 7: "v4" }[major];
const gateway = createGateway({ baseURL: `${origin}/${base}/ai`, apiKey });
const steps = stepCountIs ?? isStepCount;
const FAST = "?tps=0&ttft_ms=0";
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
const found = {};

async function streamed(options) {
  const parts = [];
  let error = null;
  const result = streamText({ maxRetries: 0, onError: ({ error: seen }) => { error = seen; }, ...options });
  for await (const part of result.fullStream ?? result.stream) parts.push(part.type);
  const settled = async (value) => { try { return await value; } catch (failure) { return { failed: failure.name }; } };
  const usage = await settled(result.totalUsage ?? result.usage);
  return {
    parts, text: await settled(result.text), reasoning: await settled(result.reasoningText), usage,
    finish: await settled(result.finishReason),
    error: error && { name: error.name, message: String(error.message ?? error), type: error.type },
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

found.text = await streamed({ model: gateway(`demo/chat${FAST}`), prompt: "Hello" });
found.reasoning = await streamed({ model: gateway(`demo/reasoning${FAST}`), prompt: "Think" });
found.tools = await streamed({
  model: gateway(`demo/tools${FAST}`), prompt: "Weather in Paris?", tools: { weather }, stopWhen: steps(3),
});
const whole = await generateText({ model: gateway(`demo/chat${FAST}`), prompt: "Hello", maxRetries: 0 });
found.whole = { text: whole.text, finish: whole.finishReason, usage: whole.usage };
found.failed = await streamed({ model: gateway(`demo/fail${FAST}&fail_after=3&fail_with=truncate`), prompt: "Hello" });
found.unknown = await failing(() => generateText({ model: gateway("nobody/knows"), prompt: "Hello", maxRetries: 0 }));
const stranger = createGateway({ baseURL: `${origin}/${base}/ai`, apiKey: "wrong" });
found.stranger = await failing(() => generateText({ model: stranger("demo/chat"), prompt: "Hello", maxRetries: 0 }));
found.models = (await gateway.getAvailableModels()).models.map(({ id, specification, pricing, modelType }) => ({ id, specification, pricing, modelType }));
// What the provider behind it is asked for: a picture, a schema, settings, an earlier call.
await generateText({
  model: gateway("mock/m"), maxRetries: 0, temperature: 0.5, maxOutputTokens: 50, stopSequences: ["END"],
  providerOptions: { gateway: { order: ["mock"] }, openai: { reasoningEffort: "low" } },
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "What?" }, { type: "file", data: Buffer.from(PNG, "base64"), mediaType: "image/png" }] },
    { role: "assistant", content: [{ type: "tool-call", toolCallId: "c1", toolName: "weather", input: { city: "Oslo" } }] },
    { role: "tool", content: [{ type: "tool-result", toolCallId: "c1", toolName: "weather", output: { type: "json", value: { mild: false } } }] },
  ],
  tools: { weather }, toolChoice: "auto", allowSystemInMessages: true,
});
if (generateObject) {
  const schema = jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] });
  found.object = (await generateObject({ model: gateway("mock/json"), schema, prompt: "Where?", maxRetries: 0 })).object;
}
console.log(JSON.stringify(found));
