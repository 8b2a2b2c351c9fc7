/**
 * Splits growing text into whole sentences, for screen readers: hearing each token would be noise.
 *
 * Pure. A sentence ends at . ! ? … (and their CJK forms) before white space, or at a line break.
 */

const END = /[.!?…]["')\]]*(?=\s)|[。！？]|\n/g;

/** A run without any sentence end, such as code, is announced in pieces of about this many characters. */
const LONGEST = 400;

export class SentenceSplitter {
  private done = 0;

  /** New whole sentences in *text*, which must start with everything given before. */
  feed(text: string): string[] {
    const out: string[] = [];
    END.lastIndex = this.done;
    for (let match = END.exec(text); match; match = END.exec(text)) {
      this.emit(text, match.index + match[0].length, out);
    }
    if (text.length - this.done > LONGEST) {
      const space = text.lastIndexOf(" ");
      if (space > this.done) this.emit(text, space, out);
    }
    return out;
  }

  /** The rest, once the text is complete. */
  close(text: string): string[] {
    const out = this.feed(text);
    this.emit(text, text.length, out);
    return out;
  }

  private emit(text: string, end: number, out: string[]): void {
    const sentence = text.slice(this.done, end).replace(/[`*_#>|]+/g, "").trim();
    this.done = end;
    if (sentence) out.push(sentence);
  }
}
