/** The small pure parts: sentences for screen readers, markdown blocks, code colours, snippets, model list. */
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, test } from "vitest";
import { Markdown } from "../src/components/Markdown";
import { splitBlocks } from "../src/lib/blocks";
import { highlight } from "../src/lib/highlight";
import { defaultModel, groupModels, modelNote } from "../src/lib/models";
import { SentenceSplitter } from "../src/lib/sentences";
import { pythonLiteral, snippet } from "../src/lib/snippets";
import type { ChatRequest } from "../src/lib/state";

describe("sentences", () => {
  const text = "Version 1.5 is out. Is it good? Yes!\n- one\n- two\nThe end";

  test("the same, whether the text comes whole or letter by letter", () => {
    const whole = new SentenceSplitter().close(text);
    const splitter = new SentenceSplitter();
    const grown: string[] = [];
    for (let length = 1; length <= text.length; length++) grown.push(...splitter.feed(text.slice(0, length)));
    grown.push(...splitter.close(text));

    expect(whole).toEqual(["Version 1.5 is out.", "Is it good?", "Yes!", "- one", "- two", "The end"]);
    expect(grown).toEqual(whole);
  });

  test("text without sentence ends is still announced in pieces", () => {
    const pieces = new SentenceSplitter().feed("word ".repeat(200));

    expect(pieces.length).toBeGreaterThan(0);
  });
});

describe("markdown", () => {
  const document = "# A\n\ntext\n\n- a\n\n- b\n\n  more\n\n```py\nx\n\ny\n```\n\nend";
  const html = (text: string) => renderToStaticMarkup(createElement(Markdown, { text }));

  test("blocks join to the text, and cut neither lists nor fences", () => {
    expect(splitBlocks(document)).toEqual(["# A\n", "text\n\n- a\n\n- b\n\n  more\n", "```py\nx\n\ny\n```\n", "end"]);
    expect(splitBlocks(document).join("\n")).toBe(document);
  });

  test("finished blocks stay the same while text grows", () => {
    let before: string[] = [];
    for (let length = 0; length <= document.length; length++) {
      const blocks = splitBlocks(document.slice(0, length));
      for (let at = 0; at < before.length - 1; at++) expect(blocks[at]).toBe(before[at]);
      before = blocks;
    }
  });

  test("raw HTML is text, scripts are no links, images are links", () => {
    const out = html('<img src=x onerror=alert(1)> [x](javascript:alert(1)) ![pic](https://example.com/a.png)');

    expect(out).not.toMatch(/<img|href="javascript/);
    expect(out).toContain('<a href="https://example.com/a.png" target="_blank" rel="noopener noreferrer nofollow">pic</a>');
  });

  test("tables and code get their own boxes", () => {
    const out = html("| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint(1)\n```");

    expect(out).toContain("table-scroll");
    expect(out).toContain('<span class="tok-call">print</span>');
  });
});

describe("highlight", () => {
  test("loses and adds nothing", () => {
    const code = "def f(x):\n  # \"no string\"\n  return 'a' + \"b\\\"c\" + 1.5 + `t` // x\n";
    for (const language of ["python", "js", "sql", "json", "html", "nonsense", ""]) {
      expect(highlight(code, language).map((t) => t.text).join("")).toBe(code);
    }
  });

  test("knows comments by language", () => {
    const kinds = (code: string, language: string) => highlight(code, language).map((t) => t.kind);

    expect(kinds("# x", "python")).toEqual(["comment"]);
    expect(kinds("// x", "js")).toEqual(["comment"]);
    expect(kinds('"a": "b"', "json")).toEqual(["property", "plain", "string"]);
  });
});

describe("snippets", () => {
  const request: ChatRequest = {
    model: "demo/chat",
    messages: [{ role: "user", content: `it's "quoted" \\ and\nnew €😀` }],
    stream: true,
    stream_options: { include_usage: true },
  };

  test("curl quotes what a shell would read", () => {
    expect(snippet("curl", request, "http://h/v1")).toContain("it'\\''s");
  });

  test("Python values", () => {
    expect(pythonLiteral({ a: [true, false, null, 1.5, "x"], b: [], c: {} }, 0)).toBe(
      '{\n    "a": [\n        True,\n        False,\n        None,\n        1.5,\n        "x",\n    ],\n    "b": [],\n    "c": {},\n}',
    );
  });

  test.each(["curl", "python", "javascript", "fetch"] as const)("%s names the base URL and asks for a stream", (language) => {
    const code = snippet(language, request, "http://h/v1");

    expect(code).toContain("http://h/v1");
    expect(code).toMatch(/stream"?[:=] ?(true|True)/);
  });
});

describe("models", () => {
  const model = (id: string) => ({ id, ownedBy: "", description: "" });
  const list = ["demo/chat", "openai/gpt-4o", "local/tiny", "openai/o3", "bare"].map(model);

  test("group by provider, simulated last", () => {
    const groups = groupModels(list, "").map((g) => [g.provider, g.models.length]);

    expect(groups).toEqual([["openai", 2], ["local", 1], ["other", 1], ["demo", 1]]);
  });

  test("search needs every word", () => {
    expect(groupModels(list, "open 4o").flatMap((g) => g.models.map((m) => m.id))).toEqual(["openai/gpt-4o"]);
  });

  test("the remembered model while it exists, else a local one", () => {
    expect(defaultModel(list, "openai/o3")).toBe("openai/o3");
    expect(defaultModel(list, "demo/chat?tps=5")).toBe("demo/chat?tps=5");
    expect(defaultModel(list, "gone/model")).toBe("local/tiny");
    expect(defaultModel([], "x")).toBe("");
  });

  test("what is not real says so", () => {
    expect(modelNote("demo/chat?tps=1")?.kind).toBe("simulated");
    expect(modelNote("local/tiny")?.kind).toBe("toy");
    expect(modelNote("openai/gpt-4o")).toBeNull();
  });
});
