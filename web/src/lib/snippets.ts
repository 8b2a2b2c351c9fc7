/** The current request as code: curl, Python, JavaScript. Pure; a key is never part of it. */
import type { ChatRequest } from "./state";

export type Language = "curl" | "python" | "javascript" | "fetch";

export const LANGUAGES: { id: Language; label: string; syntax: string }[] = [
  { id: "curl", label: "curl", syntax: "bash" },
  { id: "python", label: "Python", syntax: "python" },
  { id: "javascript", label: "JavaScript", syntax: "javascript" },
  { id: "fetch", label: "fetch", syntax: "javascript" },
];

/** *baseUrl* ends in `/v1`. */
export function snippet(language: Language, request: ChatRequest, baseUrl: string): string {
  switch (language) {
    case "curl":
      return curl(request, baseUrl);
    case "python":
      return python(request, baseUrl);
    case "javascript":
      return javascript(request, baseUrl);
    case "fetch":
      return browserFetch(request, baseUrl);
  }
}

function curl(request: ChatRequest, baseUrl: string): string {
  // Inside single quotes a shell reads everything as it is, except the quote itself.
  const body = JSON.stringify(request, null, 2).replaceAll("'", `'\\''`);
  return [
    `curl -N ${baseUrl}/chat/completions \\`,
    `  -H "Authorization: Bearer $STREAMWARD_API_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${body}'`,
  ].join("\n");
}

function python(request: ChatRequest, baseUrl: string): string {
  const fields = Object.entries(request).map(([name, value]) => `    ${name}=${pythonLiteral(value, 4)},`);
  return `import os

from openai import OpenAI

client = OpenAI(base_url=${pythonLiteral(baseUrl, 0)}, api_key=os.environ.get("STREAMWARD_API_KEY", "none"))

stream = client.chat.completions.create(
${fields.join("\n")}
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
    if chunk.usage:
        print(f"\\n{chunk.usage.completion_tokens} tokens")
`;
}

function javascript(request: ChatRequest, baseUrl: string): string {
  return `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: ${JSON.stringify(baseUrl)},
  apiKey: process.env.STREAMWARD_API_KEY ?? "none",
});

const stream = await client.chat.completions.create(${JSON.stringify(request, null, 2)});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  if (chunk.usage) console.log(\`\\n\${chunk.usage.completion_tokens} tokens\`);
}
`;
}

function browserFetch(request: ChatRequest, baseUrl: string): string {
  return `const response = await fetch(${JSON.stringify(`${baseUrl}/chat/completions`)}, {
  method: "POST",
  headers: { "Content-Type": "application/json", Authorization: "Bearer YOUR_KEY" },
  body: JSON.stringify(${JSON.stringify(request, null, 2).replaceAll("\n", "\n  ")}),
});
if (!response.ok) throw new Error(await response.text());

let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const blocks = (rest + text).split("\\n\\n");
  rest = blocks.pop();
  for (const block of blocks) {
    if (!block.startsWith("data: ") || block === "data: [DONE]") continue;
    const chunk = JSON.parse(block.slice(6));
    if (chunk.error) throw new Error(chunk.error.message);
    console.log(chunk.choices[0]?.delta?.content ?? "");
  }
}
`;
}

/** JSON values as Python source, indented like the code around them. */
export function pythonLiteral(value: unknown, indent: number): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  // JSON strings are Python strings, once characters above U+FFFF stay as they are (JSON.stringify keeps them).
  if (typeof value === "string" || typeof value === "number") return JSON.stringify(value);
  const outer = " ".repeat(indent);
  const inner = " ".repeat(indent + 4);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((item) => `${inner}${pythonLiteral(item, indent + 4)},`).join("\n")}\n${outer}]`;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return "{}";
  return `{\n${entries.map(([k, v]) => `${inner}${JSON.stringify(k)}: ${pythonLiteral(v, indent + 4)},`).join("\n")}\n${outer}}`;
}
