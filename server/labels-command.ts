import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { sameName } from './assignments.ts';
import type { Backend } from './backend.ts';
import type { CommandResult } from './command.ts';
import { type LabelLanguage, type LabelText, labelAddress, labelSheets, labelSvg, type Paper } from './labels.ts';
import { whichMac } from './mac-commands.ts';
import { macsClaimedFor } from './store/assignments.ts';
import { allMacs } from './store/macs.ts';

export interface LabelsWanted {
  /** Of the Macs that are said to be this person's; with `macs` none: of all Macs. */
  user: string | null;
  /** By serial number or id. */
  macs: readonly string[];
  paper: Paper;
  language: LabelLanguage;
  /** One SVG for each label in this folder, instead of sheets. */
  svgDir: string | null;
}

/** Labels with a code that opens a Mac's page, for whoever signs in as the person whose it is. */
export async function labels(backend: Backend, wanted: LabelsWanted): Promise<CommandResult> {
  const { people, organisation } = backend.settings;
  if (!people) throw new Problem('USAGE', 'there is no portal: `people` is missing in settings.json');
  const serials = await serialsOf(backend, wanted);
  if (serials.length === 0) throw new Problem('USAGE', wanted.user === null ? 'there are no Macs yet' : `no Mac is said to be ${wanted.user}’s`);
  const label: LabelText = { organisation, url: people.url, language: wanted.language };
  const json = { labels: serials.map((serial) => ({ serial, address: labelAddress(people.url, serial) })) };
  const { svgDir } = wanted;
  if (svgDir === null) return { json, text: labelSheets(serials, wanted.paper, label) };
  try {
    if (!existsSync(svgDir)) mkdirSync(svgDir, { recursive: true });
    // A serial number is what a Mac says of itself: as a name of a file only its letters and digits.
    for (const serial of serials) writeFileSync(join(svgDir, `${serial.replace(/[^A-Za-z0-9]/g, '_')}.svg`), labelSvg(serial, label), { mode: 0o644 });
  } catch (error) {
    throw new Problem('USAGE', `${svgDir} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  return { json: { ...json, svgDir }, text: `${serials.length} label(s) in ${svgDir}` };
}

async function serialsOf(backend: Backend, { user, macs }: LabelsWanted): Promise<string[]> {
  const { db } = backend.store;
  const named = await Promise.all(macs.map(async (name) => (await whichMac(backend, name)).serial));
  if (user === null) return named.length > 0 ? [...new Set(named)] : [...new Set((await allMacs(db)).map(({ serial }) => serial))];
  const theirs = new Set(await macsClaimedFor(db, sameName(user)));
  return [...new Set([...(await allMacs(db)).filter(({ id }) => theirs.has(id)).map(({ serial }) => serial), ...named])];
}
