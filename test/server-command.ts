import { jest } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { problemLines } from '../server/command.ts';
import { commandLine } from '../server/command-line.ts';

/** A command of `sparekey-server` as `main.ts` runs it, without a process for each. */
export async function serverCommand(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const hear = (stream: 'out' | 'err') => (text: string | Uint8Array) => {
    said[stream] += String(text);
    return true;
  };
  const out = jest.spyOn(process.stdout, 'write').mockImplementation(hear('out'));
  const err = jest.spyOn(process.stderr, 'write').mockImplementation(hear('err'));
  let code = 0;
  try {
    code = await commandLine({ argv: ['node', 'sparekey-server', ...words], operator: 'operator', mountSites: async () => undefined });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    code = error.kind.exit;
    said.err += problemLines(error);
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
  return { code, ...said };
}
