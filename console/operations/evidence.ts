import { z } from 'zod';
import type { Backend } from '../../server/backend.ts';
import { recordNamed } from '../../server/fleet/in-scope.ts';
import { countRefusals } from '../../server/store/episodes.ts';
import { operation } from '../operation.ts';

const time = z.string().describe('ISO 8601');
const timeOrNull = time.nullable();

/** What is known of a Mac's keys to whoever decides whether one is shown, and to whoever helps. Never a key. */
export const evidence = z.strictObject({
  custody: z.string(),
  because: z.string(),
  lastSeenAt: timeOrNull,
  holdUntil: timeOrNull.describe('until then nothing is replaced: somebody may be typing the key'),
  replacingSince: timeOrNull,
  keys: z.array(
    z.strictObject({
      recordId: z.string(),
      volume: z.string(),
      isPresentVolume: z.boolean(),
      state: z.string(),
      because: z.string(),
      source: z.string(),
      receivedAt: time,
      provedAt: timeOrNull.describe('when macOS said true to it'),
      lastAnswer: z.string().nullable().describe('what macOS said of it last: true, false or unknown'),
      refutedAt: timeOrNull,
      disclosedAt: timeOrNull,
      refusals: z.int().describe('how often people said that the Mac refused it'),
    }),
  ),
  alarms: z.array(z.strictObject({ code: z.string(), detail: z.string(), since: time })),
  disclosures: z.array(z.strictObject({ at: time, actor: z.string(), reason: z.string(), shown: z.boolean() })).describe('the last ten'),
});
export type Evidence = z.infer<typeof evidence>;

const mostDisclosures = 10;

export async function evidenceOf(backend: Backend, macId: string): Promise<Evidence> {
  const report = await backend.custody.macReport(macId);
  const keys = await Promise.all(
    report.keys.map(async ({ envelopeIds: _, verified: __, lastAnswer, ...key }) => ({
      ...key,
      lastAnswer: lastAnswer?.answer ?? null,
      isPresentVolume: key.volume === report.volume,
      refusals: await countRefusals(backend.store.db, key.recordId),
    })),
  );
  return {
    custody: report.state,
    because: report.because,
    lastSeenAt: report.lastSeenAt,
    holdUntil: report.hold ? new Date(report.hold.until).toISOString() : null,
    replacingSince: report.openRotation?.begunAt ?? null,
    keys,
    alarms: report.openAlarms.map(({ code, detail, since }) => ({ code, detail, since })),
    disclosures: report.disclosures.slice(0, mostDisclosures).map(({ at, actor, reason, shown }) => ({ at, actor, reason, shown })),
  };
}

/** Beside what is known of a Mac as a whole: what a key page, and whoever agrees, looks at. */
export const deviceEvidence = operation({
  name: 'device.evidence',
  method: 'GET',
  path: '/v1/devices/{id}/key-evidence',
  says: 'What is known of the keys of a Mac: candidates in order, proofs, refusals, who was shown one. No key is in it.',
  permission: 'fleet.read',
  input: z.strictObject({ id: z.string().min(1).max(64).describe('serial number or id') }),
  output: evidence,
  async run({ backend, scope }, { id }) {
    return evidenceOf(backend, await recordNamed(backend, scope, id));
  },
});
