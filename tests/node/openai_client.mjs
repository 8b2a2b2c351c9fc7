// Asks a gateway in every way the official openai package offers and prints what came, as one JSON object per case.
// Usage: node openai_client.mjs BASE_URL MODEL...
import OpenAI from "openai";

const [baseURL, ...models] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "What is server-sent events?" }];
const parameters = {
  type: "object",
  properties: { city: { enum: ["Zürich", "Bern"] } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", strict: true, parameters } }];

async function streamed(model) {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_completion_tokens: 40,
  });
  const found = { text: "", finish: [], usage: [] };
  for await (const chunk of stream) {
    found.text += chunk.choices[0]?.delta.content ?? "";
    if (chunk.choices[0]?.finish_reason) found.finish.push(chunk.choices[0].finish_reason);
    if (chunk.usage) found.usage.push(chunk.usage);
  }
  return found;
}

async function helper(model) {
  const runner = client.chat.completions.stream({ model, messages });
  let text = "";
  runner.on("content", (delta) => (text += delta));
  const final = await runner.finalChatCompletion();
  return { text, role: final.choices[0].message.role, final: final.choices[0].message.content };
}

async function tool(model) {
  const runner = client.chat.completions.stream({ model, messages, tools, tool_choice: "required" });
  const message = await runner.finalMessage();
  return message.tool_calls.map((call) => ({ id: call.id, name: call.function.name, arguments: call.function.arguments }));
}

async function whole(model) {
  const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 40 });
  return { text: answer.choices[0].message.content, usage: answer.usage };
}

async function failing(model, stream) {
  let text = "";
  try {
    const answer = await client.chat.completions.create({ model, messages, stream });
    if (stream) for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? "";
    return { text, error: null };
  } catch (error) {
    return { text, error: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
}

const result = { streamed: {}, helper: {}, whole: {}, tool: {}, failing: {} };
for (const model of models) {
  result.streamed[model] = await streamed(model);
  result.helper[model] = await helper(model);
  result.whole[model] = await whole(model);
}
for (const model of ["demo/tools?tps=0&ttft_ms=0", "mock/tools"]) result.tool[model] = await tool(model);
for (const model of ["nobody/x", "mock/http-429", "mock/http-401", "mock/http-500", "mock/broken", "mock/slow-broken"])
  result.failing[model] = [await failing(model, true), await failing(model, false)];
console.log(JSON.stringify(result));
