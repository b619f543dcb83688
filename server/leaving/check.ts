import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { openEscrowKeys } from '../escrow-keys.ts';
import { leavingPaths, sha256 } from './folder.ts';
import { type LeavingManifest, leavingManifest, type ManifestLine } from './manifest.ts';

export interface LeftChecked {
  out: string;
  madeAt: string;
  files: number;
  /** Opened to a recovery key now. */
  opened: number;
  /** Kept as they came: the backend could not read them either, or never tried. */
  notOpened: number;
  damaged: { file: string; serial: string; because: string }[];
}

/** Whether everything in the folder is as it was written, and opens: with nothing but the folder and the passphrase. */
export async function checkLeft(given: string, passphrase: string, progress: (done: number, all: number) => void): Promise<LeftChecked> {
  const out = resolve(given);
  const paths = leavingPaths(out);
  if (existsSync(paths.incomplete)) throw new Problem('LEAVING_DAMAGED', `${out} is not complete: run \`leave\` with it again`);
  const manifest = readManifest(paths.manifest);
  const keys = openEscrowKeys(paths.escrow, passphrase);
  const result: LeftChecked = { out, madeAt: manifest.madeAt, files: 0, opened: 0, notOpened: 0, damaged: [] };
  const say = (file: string, serial: string, because: string) => void result.damaged.push({ file, serial, because });

  const missing = manifest.certificates.filter(({ digest }) => !keys.certificates.some((one) => one.digest === digest));
  for (const { digest } of missing) say(`escrow/${digest}.certificate.pem`, '', 'is missing, or is another');
  const record = read(paths.audit);
  if (!record || sha256(record) !== manifest.audit.sha256) say('audit.jsonl', '', record ? 'is not as it was written' : 'is missing');

  const files = Map.groupBy(
    manifest.envelopes.filter(({ file }) => file !== null),
    ({ file }) => file ?? '',
  );
  for (const [file, lines] of files) {
    const [{ serial = '', sha256: wanted = null } = {}] = lines;
    const bytes = read(join(out, file));
    if (!bytes) say(file, serial, 'is missing');
    else if (sha256(bytes) !== wanted) say(file, serial, 'is not as it was written');
    else if (!lines.some(mayBeOpened)) result.notOpened += 1;
    else if (typeof (await keys.open(bytes)) !== 'string') result.opened += 1;
    else if (lines.some(({ readable }) => readable === 'yes')) say(file, serial, 'does not open to a recovery key');
    else result.notOpened += 1;
    result.files += 1;
    progress(result.files, files.size);
  }
  for (const name of existsSync(paths.envelopes) ? readdirSync(paths.envelopes) : [])
    if (!files.has(`envelopes/${name}`)) say(`envelopes/${basename(name)}`, '', 'is not in the manifest');
  return result;
}

/** An envelope that is another Mac's, or of which somebody made a second use, is opened by nobody. */
const mayBeOpened = ({ state, readable }: ManifestLine): boolean => state !== 'quarantined' && readable !== 'no';

function read(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch {
    return null;
  }
}

function readManifest(file: string): LeavingManifest {
  const text = read(file);
  if (!text) throw new Problem('LEAVING_DAMAGED', `${file} is missing: this is no folder that \`leave\` has finished`);
  try {
    return leavingManifest.parse(JSON.parse(text.toString('utf8')));
  } catch {
    throw new Problem('LEAVING_DAMAGED', `${file} cannot be read`);
  }
}
