/**
 * Markdown from a model, rendered safely: raw HTML shows as text, links open apart, images stay links.
 *
 * An image is a request that the model chose, so it could carry the conversation to another host; the content security
 * policy forbids it as well.
 */
import { memo, useMemo } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { splitBlocks } from "../lib/blocks";
import { CodeBlock } from "./CodeBlock";

/** Blocks of raw HTML as paragraphs of text; within a line react-markdown does so itself. */
const htmlAsText = () => (tree: { children: { type: string }[] }) => {
  tree.children = tree.children.map((child) =>
    child.type === "html" ? { type: "paragraph", children: [{ ...child, type: "text" }] } : child,
  );
};

interface HtmlNode {
  tagName?: string;
  properties?: Record<string, unknown>;
  children?: HtmlNode[];
}

const BLOCKS = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote"]);

/** Each block runs in the direction of its own first letter. */
const byItsText = () => (tree: HtmlNode) => {
  for (const child of tree.children ?? []) {
    if (BLOCKS.has(child.tagName ?? "")) child.properties = { ...child.properties, dir: "auto" };
    byItsText()(child);
  }
};

const REMARK = [remarkGfm, htmlAsText];
const REHYPE = [byItsText];

const COMPONENTS: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  ),
  img: ({ src, alt }) => (
    <a href={typeof src === "string" ? src : undefined} target="_blank" rel="noopener noreferrer nofollow">
      {alt || "image"}
    </a>
  ),
  table: ({ children }) => (
    <section className="table-scroll" tabIndex={0} aria-label="Table">
      <table dir="auto">{children}</table>
    </section>
  ),
  // A fenced block is <pre><code class="language-x">; the code element inside is read here, not rendered.
  pre: ({ node }) => {
    const code = node?.children[0];
    if (code?.type !== "element") return null;
    const text = code.children.map((child) => (child.type === "text" ? child.value : "")).join("");
    const names = code.properties.className;
    const language = Array.isArray(names) ? String(names[0] ?? "").replace(/^language-/, "") : "";
    return <CodeBlock code={text.replace(/\n$/, "")} language={language} />;
  },
};

const Block = memo(function Block({ text }: { text: string }) {
  return (
    <ReactMarkdown remarkPlugins={REMARK} rehypePlugins={REHYPE} components={COMPONENTS}>
      {text}
    </ReactMarkdown>
  );
});

/** Finished blocks keep their place and text while the last one grows, so only that one is rendered again. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => splitBlocks(text), [text]);
  return (
    <div className="markdown">
      {blocks.map((block, index) => (
        <Block key={index} text={block} />
      ))}
    </div>
  );
}
