/**
 * Server-sent events: bytes to frames, by the rules of the HTML standard, section 9.2.6.
 *
 * Pure: no network, no clock. Reading a fetch response lives in lib/api.ts.
 * Unlike a plain reader it also reports comments and keeps each frame's raw text and size, for the frame inspector.
 */

/** One event or one comment, as it stood on the wire. */
export interface SseFrame {
  /**
   * "empty": a block without data lines, such as a lone `id:`; no event by the standard.
   * "incomplete": the body ended inside this block; the standard discards it, so must the reader of a chat.
   */
  kind: "event" | "comment" | "empty" | "incomplete";
  /** The event's type; "message" unless an `event:` line said otherwise. */
  event: string;
  data: string;
  /** The last event id in force. It outlives the frame that set it. */
  id: string;
  retry: number | null;
  raw: string;
  /** Bytes on the wire. */
  size: number;
}

/** No frame of a chat comes near this; a server that never ends its block must not fill the tab's memory. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

export class FrameTooLarge extends Error {
  constructor() {
    super(`one SSE frame is larger than ${MAX_FRAME_BYTES / 1024 / 1024} MiB; the reader gave up`);
  }
}

const LF = 10;
const CR = 13;
const BOM = [0xef, 0xbb, 0xbf];

export class SseReader {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** Bytes of the unfinished line, in the pieces they came in: joined once, when the line ends. */
  private pieces: Uint8Array[] = [];
  private pieceBytes = 0;
  /** The last byte of the last read was CR: an LF that follows belongs to the same line end. */
  private afterCr = false;
  private firstLine = true;

  private event = "";
  private data: string[] = [];
  private retry: number | null = null;
  private id = "";
  private raw: string[] = [];
  private size = 0;

  /** Frames completed by these bytes. Any cut is fine, inside a character too. */
  feed(bytes: Uint8Array): SseFrame[] {
    const frames: SseFrame[] = [];
    let start = 0;
    if (this.afterCr && bytes.length > 0) {
      if (bytes[0] === LF) start = 1;
      this.afterCr = false;
    }
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte !== LF && byte !== CR) continue;
      const line = this.takeLine(bytes.subarray(start, at));
      let ending = byte === LF ? "\n" : "\r";
      if (byte === CR) {
        if (bytes[at + 1] === LF) {
          ending = "\r\n";
          at++;
        } else if (at + 1 === bytes.length) {
          this.afterCr = true;
        }
      }
      start = at + 1;
      this.line(line, ending, frames);
    }
    this.keep(bytes.subarray(start));
    return frames;
  }

  /** What was left when the body ended: at most one "incomplete" frame. */
  close(): SseFrame[] {
    if (this.pieceBytes > 0) {
      const rest = this.takeLine(new Uint8Array(0));
      this.raw.push(rest.text);
      this.size += rest.size;
    }
    if (this.raw.length === 0) return [];
    return [this.takeFrame("incomplete")];
  }

  private keep(rest: Uint8Array): void {
    if (rest.length === 0) return;
    this.pieces.push(rest.slice());
    this.pieceBytes += rest.length;
    if (this.pieceBytes + this.size > MAX_FRAME_BYTES) throw new FrameTooLarge();
  }

  private takeLine(tail: Uint8Array): { text: string; size: number } {
    const size = this.pieceBytes + tail.length;
    let line = tail;
    if (this.pieces.length > 0) {
      line = new Uint8Array(size);
      let offset = 0;
      for (const piece of this.pieces) {
        line.set(piece, offset);
        offset += piece.length;
      }
      line.set(tail, offset);
      this.pieces = [];
      this.pieceBytes = 0;
    }
    // One leading byte order mark is no part of the stream.
    if (this.firstLine && BOM.every((byte, index) => line[index] === byte)) line = line.subarray(3);
    this.firstLine = false;
    return { text: this.decoder.decode(line), size };
  }

  private line(line: { text: string; size: number }, ending: string, frames: SseFrame[]): void {
    const size = line.size + ending.length;
    const { text } = line;
    if (text === "") return this.blank(ending, size, frames);
    if (text.startsWith(":")) {
      // Shown the moment it arrives: a keep-alive inside an open block must not wait for the block to end.
      frames.push({
        kind: "comment",
        event: "",
        data: text.slice(1).trim(),
        id: this.id,
        retry: null,
        raw: text + ending,
        size,
      });
      return;
    }
    this.raw.push(text + ending);
    this.size += size;
    if (this.size > MAX_FRAME_BYTES) throw new FrameTooLarge();
    const colon = text.indexOf(":");
    const name = colon < 0 ? text : text.slice(0, colon);
    let value = colon < 0 ? "" : text.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    this.field(name, value);
  }

  private field(name: string, value: string): void {
    if (name === "data") {
      this.data.push(value);
    } else if (name === "event") {
      this.event = value;
    } else if (name === "id") {
      if (!value.includes("\0")) this.id = value;
    } else if (name === "retry") {
      if (/^[0-9]+$/.test(value)) this.retry = Number(value);
    }
  }

  private blank(ending: string, size: number, frames: SseFrame[]): void {
    if (this.raw.length === 0) {
      const last = frames.at(-1);
      if (last?.kind === "comment") {
        last.raw += ending;
        last.size += size;
      }
      return;
    }
    this.raw.push(ending);
    this.size += size;
    frames.push(this.takeFrame(this.data.length > 0 ? "event" : "empty"));
  }

  private takeFrame(kind: "event" | "empty" | "incomplete"): SseFrame {
    const frame: SseFrame = {
      kind,
      event: this.event || "message",
      data: this.data.join("\n"),
      id: this.id,
      retry: this.retry,
      raw: this.raw.join(""),
      size: this.size,
    };
    this.event = "";
    this.data = [];
    this.retry = null;
    this.raw = [];
    this.size = 0;
    return frame;
  }
}
