import { createHash, sign } from 'node:crypto';
import { accessReview } from '../admins/review.ts';
import { audit, recordOf } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { Scope } from '../permissions.ts';
import { serverVersion } from '../settings.ts';
import { checkpointsAfter } from '../store/audit-checkpoints.ts';
import { actsAfter, seqRange } from '../store/audit-search.ts';
import { countMacsOfPeriod, type Period, policyVersionsUntil } from '../store/evidence.ts';
import { checkpointOf, lineOfCheckpoint } from './checkpoint.ts';
import { auditKeyOf, checkpointOfNews } from './checkpoints.ts';
import { csvRow } from './csv.ts';
import { evidenceReadme } from './evidence-readme.ts';
import { accesses, isoOrEmpty, type Lags, type Population, population, rotationLags, type Sample, sampleRows, sampleSize, summaryOf } from './evidence-rows.ts';
import { exportText } from './export.ts';
import { exportOf } from './search.ts';
import { type ZipFile, zipOf } from './zip.ts';

export interface EvidenceAsked {
  period: Period;
  scope: Scope;
  sample: Sample;
  /** Who asks for it, for the audit and the pack. */
  actor: string;
}

interface Described {
  name: string;
  bytes: number;
  sha256: string;
}

/** What of the audit says how the backend was set, and who might do what. */
const settingActs = ['settings.', 'policy.', 'role.', 'token.', 'account.', 'audit-key.', 'admin.', 'authority.', 'server.', 'emergency.'];
const pageRows = 500;

async function* accessReviewRows(backend: Backend): AsyncGenerator<string> {
  const { roles, tokens } = await accessReview(backend, backend.clock.now());
  const tags = (scope: Scope) => (scope === null ? 'all Macs' : scope.join(' '));
  yield csvRow(['what', 'who', 'role', 'for', 'since', 'givenBy', 'reason', 'holders', 'lastSignedInAt', 'lastUsedAt', 'expiresAt']);
  for (const { subject, role, scope, since, by, reason, count, people } of roles) {
    yield csvRow([`role of a ${subject.kind}`, subject.name, role, tags(scope), isoOrEmpty(since), by, reason, count, '', '', '']);
    for (const one of people)
      yield csvRow([
        'who has it',
        one.userName,
        role,
        tags(scope),
        '',
        '',
        subject.kind === 'group' ? `group ${subject.name}` : '',
        '',
        isoOrEmpty(one.lastSignedInAt),
        isoOrEmpty(one.lastUsedAt),
        '',
      ]);
  }
  for (const one of tokens) {
    const may = one.roles === null ? 'all that its maker may' : one.roles.map(({ role, scope }) => `${role} (${tags(scope)})`).join('; ');
    yield csvRow([
      `token (${one.kind})`,
      `${one.name} of ${one.maker}`,
      may,
      '',
      isoOrEmpty(one.madeAt),
      one.maker,
      one.powerless ? 'may nothing now' : '',
      '',
      '',
      isoOrEmpty(one.lastUsedAt),
      isoOrEmpty(one.expiresAt),
    ]);
  }
}

/** Policies as they were at each time, and what was recorded of settings, roles and tokens in the period. */
async function* settingsHistory({ store }: Backend, { from, to }: Period): AsyncGenerator<string> {
  for (const { policy_id: policyId, rules, tags, ...row } of await policyVersionsUntil(store.db, to))
    yield `${JSON.stringify({ kind: 'policy', policyId, ...row, at: isoOrEmpty(row.at), tags: tags === null ? null : JSON.parse(tags), rules: rules === null ? null : JSON.parse(rules) })}\n`;
  const { first, last } = await seqRange(store.db, { from, to });
  for (let after = first - 1; ; ) {
    const page = await actsAfter(store.db, after, last, settingActs, pageRows);
    yield page.map((row) => `${JSON.stringify({ kind: 'record', time: isoOrEmpty(row.at), ...recordOf(row) })}\n`).join('');
    if (page.length < pageRows) return;
    after = page.at(-1)?.seq ?? after;
  }
}

async function* checkpointLines({ store }: Backend): AsyncGenerator<string> {
  for (let after = 0; ; ) {
    const page = (await checkpointsAfter(store.db, after, pageRows)).map(checkpointOf);
    yield page.map(lineOfCheckpoint).join('');
    if (page.length < pageRows) return;
    after = page.at(-1)?.number ?? after;
  }
}

/** The pack, file by file while it is sent. Who asked for it is recorded before. */
export async function evidencePack(
  backend: Backend,
  { period, scope, sample, actor }: EvidenceAsked,
): Promise<{ fileName: string; content: AsyncIterable<Buffer> }> {
  const { store, clock, settings } = backend;
  const { db } = store;
  const key = await auditKeyOf(backend);
  const said = { from: isoOrEmpty(period.from), to: isoOrEmpty(period.to), seed: sample.seed, sample: sample.size, tags: scope };
  await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor, act: 'report.made', details: said }));
  await checkpointOfNews(backend);
  const madeAt = new Date(clock.now());
  const macs = await countMacsOfPeriod(db, period, scope);
  const seen: Population = { count: 0, size: sampleSize(sample, macs), lots: [] };
  const lags: Lags = {};
  const described: Described[] = [];

  /** Its digest is known when it is through. */
  function file(name: string, content: () => ZipFile['content']): ZipFile {
    async function* counted(): AsyncGenerator<Buffer> {
      const sha = createHash('sha256');
      let bytes = 0;
      for await (const part of content()) {
        const buffer = Buffer.from(part);
        sha.update(buffer);
        bytes += buffer.length;
        yield buffer;
      }
      described.push({ name, bytes, sha256: sha.digest('hex') });
    }
    return { name, content: counted() };
  }

  async function* files(): AsyncGenerator<ZipFile> {
    yield file('population.csv', () => population(db, period, scope, sample.seed, seen));
    yield file('sample.csv', () => sampleRows(seen));
    yield file('accesses.csv', () => accesses(db, period, scope));
    yield file('rotation-lag.csv', () => rotationLags(db, period, scope, lags));
    yield file('rotation-lag-summary.json', () => [`${JSON.stringify(summaryOf(lags), null, 2)}\n`]);
    if (scope === null) {
      yield file('access-review.csv', () => accessReviewRows(backend));
      yield file('settings-history.jsonl', () => settingsHistory(backend, period));
    }
    const exporting = await exportOf(backend, { from: period.from, to: period.to }, scope, said);
    yield file('audit.jsonl', () => exportText(exporting));
    yield file('audit-checkpoints.jsonl', () => checkpointLines(backend));
    yield file('public-key.pem', () => [key.keys.at(-1)?.publicKey ?? '']);
    yield file('audit-keys.json', () => [`${JSON.stringify(key.keys, null, 2)}\n`]);
    yield file('README.txt', () => [
      evidenceReadme({
        organisation: settings.organisation,
        from: said.from,
        to: said.to,
        keyId: key.keyId,
        seed: sample.seed,
        drawn: seen.lots.length,
        of: seen.count,
        isWhole: scope === null,
      }),
    ]);
    yield { name: 'SHA256SUMS', content: [described.map(({ sha256, name }) => `${sha256}  ${name}\n`).join('')] };
    const manifest = {
      format: 'sparekey evidence 1',
      madeAt: madeAt.toISOString(),
      madeBy: actor,
      serverUrl: settings.serverUrl,
      serverVersion: serverVersion(),
      organisation: settings.organisation,
      from: said.from,
      to: said.to,
      tags: scope,
      population: seen.count,
      sample: { seed: sample.seed, drawn: seen.lots.length },
      files: described,
      keyId: key.keyId,
    };
    const text = `${JSON.stringify(manifest, null, 2)}\n`;
    yield { name: 'manifest.json', content: [text] };
    yield { name: 'manifest.sig', content: [sign(null, Buffer.from(text), key.privateKey)] };
  }
  const days = [said.from, said.to].map((text) => text.slice(0, 10)).join('-to-');
  return { fileName: `sparekey-evidence-${days}.zip`, content: zipOf(files(), madeAt) };
}
