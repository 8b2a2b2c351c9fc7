/** A block of code with its language, light colouring and a copy button. */
import { memo, useMemo } from "react";
import { highlight } from "../lib/highlight";
import { CopyButton } from "./controls";

/** Colouring larger blocks again for each token would be felt; they stay plain. */
const MAX_COLOURED = 20_000;

export function Highlighted({ code, language }: { code: string; language: string }) {
  const tokens = useMemo(
    () => (code.length > MAX_COLOURED ? [{ kind: "plain" as const, text: code }] : highlight(code, language)),
    [code, language],
  );
  return tokens.map((token, index) =>
    token.kind === "plain" ? (
      token.text
    ) : (
      <span key={index} className={`tok-${token.kind}`}>
        {token.text}
      </span>
    ),
  );
}

export const CodeBlock = memo(function CodeBlock({ code, language }: { code: string; language: string }) {
  return (
    <div className="code-block">
      <div className="code-head">
        <span>{language || "text"}</span>
        <CopyButton text={() => code} label={`Copy ${language || "text"} code`} compact />
      </div>
      <pre tabIndex={0} aria-label={`${language || "text"} code`}>
        <code>
          <Highlighted code={code} language={language} />
        </code>
      </pre>
    </div>
  );
});
