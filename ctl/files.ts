import { createWriteStream, readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Problem } from '../protocol/problems.ts';
import type { Question } from './asking.ts';
import type { Ctl, Result } from './result.ts';

/** What is sent as a file, into a new file of one's own, or on standard output. */
export async function save(ctl: Ctl, file: string | null, question: Question): Promise<Result> {
  const { content } = await ctl.api.download(question);
  let bytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const part of content) {
      bytes += part.length;
      ctl.progress(`${Math.round(bytes / 1024)} KB …`);
      yield part;
    }
  }
  if (file === null) {
    // A sign of several bytes may come in two pieces.
    const decoder = new TextDecoder();
    for await (const part of counted()) ctl.terminal.out(decoder.decode(part, { stream: true }));
    ctl.terminal.out(decoder.decode());
    return { json: { bytes }, text: '' };
  }
  try {
    await pipeline(counted(), createWriteStream(file, { flags: 'wx', mode: 0o600 }));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || error instanceof Problem) throw error;
    throw new Problem('USAGE', code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`);
  }
  return { json: { file, bytes }, text: `${file}: ${bytes} bytes` };
}

/** JSON that somebody has written. */
export function readJsonFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Problem('USAGE', `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  try {
    const read: unknown = JSON.parse(text);
    if (typeof read === 'object' && read !== null && !Array.isArray(read)) return read as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Problem('USAGE', `${file} is no JSON object`);
}
