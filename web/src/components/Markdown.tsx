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

const PLUGINS = [remarkGfm];

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
      <table>{children}</table>
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
    <ReactMarkdown remarkPlugins={PLUGINS} components={COMPONENTS}>
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
