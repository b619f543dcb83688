import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import type { CommandResult } from '../command.ts';
import { timeOf } from './commands.ts';
import { evidencePack } from './evidence.ts';
import type { Sample } from './evidence-rows.ts';
import { writeNew } from './new-file.ts';

export interface EvidenceFlags {
  from: string;
  to: string;
  out: string;
  seed?: string;
  sample: string;
}

const sizePattern = /^(\d{1,6})(%?)$/;

function readSampleSize(text: string): Sample['size'] {
  const [, digits = '', percent = ''] = sizePattern.exec(text) ?? [];
  const number = Number(digits);
  if (digits === '' || number < 1 || (percent !== '' && number > 100))
    throw new Problem('USAGE', '--sample is a number of Macs, or a part of them such as 10%');
  return percent === '' ? { count: number } : { percent: number };
}

/** Nobody could have chosen it beforehand. */
export const newSeed = (): string => randomBytes(16).toString('hex');

function readPeriod(from: number, to: number): { from: number; to: number } {
  if (to <= from) throw new Problem('USAGE', 'the period ends before it begins');
  return { from, to };
}

export async function reportEvidence(backend: Backend, flags: EvidenceFlags, actor: string): Promise<CommandResult> {
  const period = readPeriod(timeOf('--from', flags.from), timeOf('--to', flags.to));
  const sample = { seed: flags.seed ?? newSeed(), size: readSampleSize(flags.sample) };
  const { content } = await evidencePack(backend, { period, scope: null, sample, actor });
  const file = resolve(flags.out);
  const bytes = await writeNew(file, content);
  return {
    json: { file, bytes, seed: sample.seed },
    text: `${file}: ${bytes} bytes, the sample drawn by ${sample.seed}\nREADME.txt in it says how each file is checked without Sparekey`,
  };
}
