import { z } from 'zod';
import { evidencePack } from '../../server/auditing/evidence.ts';
import { newSeed } from '../../server/auditing/report-commands.ts';
import { type AnyOperation, download, operation } from '../operation.ts';

export const reportEvidence = operation({
  name: 'report.evidence',
  method: 'POST',
  path: '/v1/reports/evidence',
  says: 'Sends a signed ZIP for an auditor: population, sample, accesses, replacements, roles, settings and audit of a period. Its README.txt says how each is checked.',
  permission: 'report.make',
  sends: 'application/zip',
  input: z
    .strictObject({
      from: z.iso.datetime().describe('The beginning of the period.'),
      to: z.iso.datetime().describe('Its end, which is not part of it.'),
      seed: z
        .string()
        .regex(/^[\w.:-]{1,64}$/)
        .optional()
        .describe('What the sample is drawn by; left out: by chance, and named in the pack.'),
      sample: z.int().min(1).max(100_000).default(25).describe('How many Macs are in the sample.'),
    })
    .refine(({ from, to }) => Date.parse(from) < Date.parse(to), { path: ['to'], message: 'the period ends before it begins' }),
  output: download,
  async run({ backend, admin, scope }, { from, to, seed, sample }) {
    const period = { from: Date.parse(from), to: Date.parse(to) };
    return evidencePack(backend, { period, scope, sample: { seed: seed ?? newSeed(), size: { count: sample } }, actor: admin.name });
  },
});

export const reportOperations: readonly AnyOperation[] = [reportEvidence];
