/**
 * A small code highlighter: comments, strings, numbers, keywords. Pure.
 *
 * One regular expression for the many languages that share these shapes; an unknown language is only as wrong as a
 * comment mark. Kept small on purpose: a full grammar set would weigh more than the rest of the page.
 */

export type TokenKind = "plain" | "comment" | "string" | "number" | "keyword" | "call" | "property";

export interface Token {
  kind: TokenKind;
  text: string;
}

const KEYWORDS = new Set(
  ("and as assert async await bool break case catch class const continue def default del do elif else enum except export extends " +
    "extern false False finally fn for foreach from func function global if impl import in instanceof int interface is lambda let " +
    "loop match mod mut new nil None nonlocal not null of or pass private protected pub public raise return select self static " +
    "string struct super switch this throw trait true True try type typeof undefined union use using var void where while with " +
    "yield then fi done esac echo cd SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE JOIN ON GROUP BY ORDER LIMIT AND OR NOT NULL " +
    "CREATE TABLE").split(" "),
);

const HASH_COMMENTS = new Set(["python", "py", "bash", "sh", "shell", "zsh", "yaml", "yml", "toml", "ruby", "rb", "dockerfile", "make", "ini", "r"]);
const DASH_COMMENTS = new Set(["sql", "lua", "haskell", "hs"]);
const UNCOLOURED = new Set(["", "text", "txt", "plain", "plaintext", "markdown", "md", "console"]);

const STRING = /"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?/;
const REST = /\b\d[\w.]*|[A-Za-z_$][\w$]*/;

function commentFor(language: string): RegExp {
  if (HASH_COMMENTS.has(language)) return /#[^\n]*/;
  if (DASH_COMMENTS.has(language)) return /--[^\n]*/;
  if (language === "html" || language === "xml") return /<!--[\s\S]*?(?:-->|$)/;
  if (language === "json") return /(?!)/;
  return /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/;
}

export function highlight(code: string, language: string): Token[] {
  const name = language.toLowerCase();
  if (UNCOLOURED.has(name)) return [{ kind: "plain", text: code }];
  const pattern = new RegExp(`(${commentFor(name).source})|(${STRING.source})|(${REST.source})`, "g");
  const tokens: Token[] = [];
  let end = 0;
  for (const match of code.matchAll(pattern)) {
    if (match.index > end) tokens.push({ kind: "plain", text: code.slice(end, match.index) });
    end = match.index + match[0].length;
    tokens.push({ kind: kindOf(match, code, end), text: match[0] });
  }
  if (end < code.length) tokens.push({ kind: "plain", text: code.slice(end) });
  return tokens;
}

function kindOf(match: RegExpMatchArray, code: string, end: number): TokenKind {
  const [text, comment, string] = match;
  if (comment !== undefined) return "comment";
  if (string !== undefined) return /^\s*:/.test(code.slice(end, end + 8)) ? "property" : "string";
  if (/^\d/.test(text)) return "number";
  if (KEYWORDS.has(text)) return "keyword";
  return code[end] === "(" ? "call" : "plain";
}
