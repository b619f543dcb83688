/** One JSON value of a file that may have many: a whole reply, JSON lines, or replies that were written one behind the other. */
export type JsonPiece = { value: unknown } | { wrong: string };

const mostPieces = 1_000_000;

/** From an opening bracket to the one that closes it; null where none does. */
function endOf(text: string, from: number): number | null {
  const sign = /[{}[\]"]/g;
  const rest = /(?:[^"\\]|\\.)*"/gsy;
  sign.lastIndex = from;
  let depth = 0;
  for (let found = sign.exec(text); found; found = sign.exec(text)) {
    if (found[0] === '"') {
      rest.lastIndex = sign.lastIndex;
      if (!rest.test(text)) return null;
      sign.lastIndex = rest.lastIndex;
    } else {
      depth += found[0] === '{' || found[0] === '[' ? 1 : -1;
      if (depth === 0) return sign.lastIndex;
      if (depth < 0) return null;
    }
  }
  return null;
}

/** Node's own words for what is wrong in JSON quote it, keys and all: they are not passed on. */
function parsed(text: string): JsonPiece {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { wrong: 'it is no JSON' };
  }
}

/** An opening bracket that is never closed is looked for to the end of the file: not more often than this. */
const mostUnclosed = 100;

/**
 * One after the other. What is broken costs no more than its own lines: behind it is gone on with the next line that begins an
 * object, so that one damaged reply does not hide those that follow.
 */
export function* jsonPieces(text: string): Generator<JsonPiece> {
  const between = /[\s,]*/y;
  const line = /[^\r\n]*/y;
  let at = 0;
  let unclosed = 0;
  for (let count = 0; count < mostPieces; count += 1) {
    between.lastIndex = at;
    at += between.exec(text)?.[0].length ?? 0;
    if (at >= text.length) return;
    const opens = text[at] === '{' || text[at] === '[';
    if (unclosed >= mostUnclosed) {
      yield { wrong: 'from here on nothing was read: too much of the JSON before it does not end' };
      return;
    }
    const end = opens ? endOf(text, at) : null;
    const piece = end === null ? null : parsed(text.slice(at, end));
    if (end !== null && piece !== null && 'value' in piece) {
      yield piece;
      at = end;
      continue;
    }
    const next = text.indexOf('\n{', at + 1);
    if (opens && end === null) {
      unclosed += 1;
      yield { wrong: next < 0 ? unfinished : 'this JSON does not end, and it was gone on with the next line that begins an object' };
      if (next < 0) return;
    } else yield piece ?? { wrong: 'between the JSON is something else' };
    line.lastIndex = at;
    const after = opens ? Math.min(end ?? text.length, next < 0 ? text.length : next) : at + (line.exec(text)?.[0].length ?? 0);
    at = Math.max(after, at + 1);
  }
  yield { wrong: `from here on nothing was read: these are more than ${mostPieces}, cut the file into several` };
}

const unfinished = 'from here on the JSON is not complete, and nothing of it was read: was the file cut?';
