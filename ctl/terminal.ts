import { createInterface } from 'node:readline/promises';
import type { Terminal } from './output.ts';
import { wantsColour } from './settings.ts';

/** The one that this process was started at. */
export function ownTerminal(): Terminal {
  const isTerminal = process.stdout.isTTY === true;
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal,
    isErrTerminal: process.stderr.isTTY === true,
    colour: wantsColour(isTerminal),
    width: isTerminal ? (process.stdout.columns ?? 0) : 0,
    async ask(question) {
      if (!process.stdin.isTTY) return null;
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return await lines.question(question);
      } finally {
        lines.close();
      }
    },
  };
}

/** Standard input to its end: a token for `login --token-stdin`. */
export async function readStandardInput(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}
