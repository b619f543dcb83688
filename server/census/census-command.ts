import { createHash, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Problem } from '../../protocol/problems.ts';
import type { CommandResult } from '../command.ts';
import { readGiven } from '../init.ts';
import { figuresOf, headline, totalsOf } from './figures.ts';
import { type Census, type Judged, takeCensus } from './fleet.ts';
import { agentComes } from './judge.ts';
import { reportPage } from './page.ts';
import { readAll } from './reading.ts';
import { reportCsv } from './report-csv.ts';
import { macText, reportText, sourceText } from './report-text.ts';
import type { Ours } from './standing.ts';

export interface CensusOptions {
  paths: readonly string[];
  /** Files with our escrow certificates, PEM or DER. */
  ours: readonly string[];
  /** The MDM is NanoMDM or MicroMDM. */
  witness: boolean;
  csv: string | null;
  html: string | null;
  /** One Mac instead of the fleet. */
  mac: string | null;
}

export async function censusCommand(options: CensusOptions): Promise<CommandResult> {
  const ours: Ours = { digests: new Set(options.ours.flatMap(digestsIn)), witness: options.witness };
  const census = await takeCensus(readAll(options.paths), ours);
  if (census.macs.length === 0) throw new Problem('CENSUS_EMPTY', whyEmpty(census, options.paths));
  if (options.mac !== null) {
    const wanted = options.mac.trim().toUpperCase();
    const found = census.macs.find(({ mac }) => mac.serial === wanted);
    if (!found) throw new Problem('USAGE', `${wanted} has no line there`);
    return { json: forPrograms(found), text: macText(found) };
  }
  const written = [
    ...(options.csv === null ? [] : [write(options.csv, reportCsv(census))]),
    ...(options.html === null ? [] : [write(options.html, reportPage(census))]),
  ];
  return { json: jsonOf(census), text: [reportText(census), ...written.map((file) => `Written: ${file}`)].join('\n\n') };
}

function digestsIn(file: string): string[] {
  const bytes = readGiven(file);
  const pems = bytes.toString('latin1').match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g);
  try {
    return (pems ?? [bytes]).map((one) => createHash('sha256').update(new X509Certificate(one).raw).digest('hex'));
  } catch {
    throw new Problem('USAGE', `${file} is no certificate`);
  }
}

function write(file: string, content: string): string {
  try {
    // Serial numbers and who may open what: for their reader only.
    writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
    return file;
  } catch (error) {
    // It may be what was to be counted.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new Problem('USAGE', `${file} is there already: name a file that is not`);
    throw new Problem('USAGE', `${file} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

function whyEmpty({ broken, unanswered }: Census, paths: readonly string[]): string {
  if (unanswered.length > 0) return `${unanswered.length} Macs are listed, and none of them has answered`;
  const [first] = broken;
  if (!first) return `there is no file in ${paths.join(', ')}`;
  const more = broken.length - 1;
  return `${first.file}:${first.line}: ${first.because}${more > 0 ? `, and ${more} more such places` : ''}`;
}

const forPrograms = ({ mac, judgement, ring }: Judged) => ({
  serial: mac.serial,
  answeredAt: mac.at,
  macos: mac.macos,
  build: mac.build,
  mode: judgement.mode,
  owner: judgement.owner,
  ownerName: judgement.ownerName,
  agent: judgement.agent,
  agentDoes: { proves: agentComes[judgement.agent].proves, rotates: agentComes[judgement.agent].rotates, prompts: agentComes[judgement.agent].prompts },
  payload: judgement.payload,
  obstacles: judgement.obstacles.map(({ code, weight, says }) => ({ code, weight, says })),
  next: judgement.next,
  ring,
  problems: mac.problems,
});

const jsonOf = (census: Census) => ({
  says: headline(totalsOf(census)),
  source: sourceText(census),
  answeredFrom: census.answeredFrom,
  answeredTo: census.answeredTo,
  counts: { ...totalsOf(census), broken: census.broken.length, unanswered: census.unanswered.length, repeated: census.repeated.length },
  figures: Object.fromEntries(
    figuresOf(census).map(({ id, title, bars }) => [id, { title, bars: bars.map(({ label, count, says }) => ({ label, count, says })) }]),
  ),
  macs: census.macs.map(forPrograms),
  repeated: census.repeated,
  unanswered: census.unanswered,
  broken: census.broken,
});
