/**
 * Cuts growing markdown into blocks, so that only the last one is parsed again for each token.
 *
 * Pure. Cuts at blank lines outside fences, but never where the next line may continue a list, a quote or an indented
 * part: rendering the blocks one by one then looks the same as rendering the whole.
 */

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const CONTINUES = /^(\s|[-*+]\s|\d{1,9}[.)]\s|>|\|)/;

/** A last line that may yet become a list item or a fence: it waits in the block before it. */
const UNDECIDED = /^([-*+`~]{1,2}|\d{1,9}[.)]?)$/;

export function splitBlocks(markdown: string): string[] {
  // Link reference definitions reach across blocks: such a text stays whole.
  if (/^ {0,3}\[[^\]]+\]:/m.test(markdown)) return [markdown];
  const blocks: string[] = [];
  let current: string[] = [];
  let fence: string | null = null;
  let blank = false;
  const lines = markdown.split("\n");
  for (const [at, line] of lines.entries()) {
    const continues = CONTINUES.test(line) || (at === lines.length - 1 && UNDECIDED.test(line));
    const mark = FENCE.exec(line)?.[1];
    if (fence === null && blank && line.trim() !== "" && !continues && current.length > 0) {
      blocks.push(current.join("\n"));
      current = [];
    }
    if (fence === null && mark) fence = mark;
    else if (fence !== null && mark && mark[0] === fence[0] && mark.length >= fence.length && line.trim() === mark) fence = null;
    current.push(line);
    blank = line.trim() === "";
  }
  if (current.length > 0) blocks.push(current.join("\n"));
  return blocks;
}
