/**
 * Cuts a body of many JSON values into the bytes of each, while it arrives:
 *
 *   array   `[{…}, {…}]`        cut at the commas and brackets of the outermost level
 *   lines   one value per line (NDJSON, JSON Lines); empty lines are passed over
 *
 * The values themselves are not looked into: what is cut out wrong because a text is no JSON is no JSON either, and its
 * reader says so. Kept is one value at a time, and of one that is too long nothing.
 */
import { Problem } from '../problem.ts';

export interface ItemSink {
  /** Longest value, in bytes. */
  readonly maxItemBytes: number;
  /** Takes the bytes of the next value, or that it was too long. */
  readonly onItem: (item: Uint8Array | 'too-long') => void;
}

export interface ItemCutter {
  push(chunk: Uint8Array): void;
  /** @throws Problem `invalid-json` when the text ended too early */
  end(): void;
}

const lineFeed = 0x0a;

/** @example const cutter = cutLines({ maxItemBytes: 1024, onItem }); cutter.push(chunk); cutter.end(); */
export function cutLines(sink: ItemSink): ItemCutter {
  const piece = createPiece(sink.maxItemBytes);
  const finish = (): void => {
    const line = piece.take();
    if (line === 'too-long' || !isBlank(line)) sink.onItem(line);
  };
  return {
    push(chunk) {
      let from = 0;
      for (let at = chunk.indexOf(lineFeed); at !== -1; at = chunk.indexOf(lineFeed, from)) {
        piece.add(chunk.subarray(from, at));
        finish();
        from = at + 1;
      }
      piece.add(chunk.subarray(from));
    },
    end: finish,
  };
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/** @throws Problem `invalid-json` from `push` and `end` when the text is no array */
export function cutArray(sink: ItemSink): ItemCutter {
  const piece = createPiece(sink.maxItemBytes);
  let place: 'before' | 'inside' | 'string' | 'escape' | 'after' = 'before';
  let depth = 0;
  let items = 0;

  const finish = (byte: number): void => {
    const item = piece.take();
    const isEmptyArray = items === 0 && byte === closeBracket;
    if (item !== 'too-long' && isBlank(item)) {
      if (isEmptyArray) return;
      throw notAnArray('A value is missing between two commas or before a bracket.');
    }
    items++;
    sink.onItem(item);
  };
  const pass = (byte: number): void => {
    if (byte === quote) place = 'string';
    else if (byte === openBracket || byte === openBrace) depth++;
    else if (byte === closeBracket || byte === closeBrace) depth--;
  };
  const outside = (byte: number): void => {
    if (isSpace(byte)) return;
    if (place === 'after' || byte !== openBracket) throw notAnArray('Send one array of messages.');
    place = 'inside';
  };

  return {
    push(chunk) {
      let from = 0;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at] ?? 0;
        if (place === 'string') {
          if (byte === quote) place = 'inside';
          else if (byte === backslash) place = 'escape';
        } else if (place === 'escape') place = 'string';
        else if (place !== 'inside') {
          outside(byte);
          from = at + 1;
        } else if (depth === 0 && (byte === comma || byte === closeBracket)) {
          piece.add(chunk.subarray(from, at));
          finish(byte);
          from = at + 1;
          if (byte === closeBracket) place = 'after';
        } else pass(byte);
      }
      piece.add(chunk.subarray(from));
    },
    end() {
      if (place !== 'after') throw notAnArray('The array is not closed.');
    },
  };
}

interface Piece {
  add(part: Uint8Array): void;
  /** Everything since the last time. */
  take(): Uint8Array | 'too-long';
}

function createPiece(maxBytes: number): Piece {
  let parts: Uint8Array[] = [];
  let size = 0;
  return {
    add(part) {
      size += part.length;
      if (size > maxBytes) parts = [];
      else if (part.length > 0) parts.push(part);
    },
    take() {
      const whole = size > maxBytes ? 'too-long' : joined(parts, size);
      parts = [];
      size = 0;
      return whole;
    },
  };
}

/** One array of bytes; the part itself when there is but one. */
export function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first) return first;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every(isSpace);
}

/** White space of RFC 8259 §2. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === lineFeed || byte === 0x0d || byte === 0x09;
}

function notAnArray(detail: string): Problem {
  return new Problem('invalid-json', `The body is not a JSON array. ${detail}`);
}
