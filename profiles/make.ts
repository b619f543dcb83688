import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, parse } from 'plist';
import { Problem } from '../protocol/problems.ts';
import { type Dictionary, type Finding, lint, type ProfileFile } from './lint.ts';
import { escrowFingerprint, makeProfiles } from './payloads.ts';
import { loadSettings } from './settings.ts';

const usage = `usage: npm run -s profiles -- --settings FILE.json [--backend VALUES.json] --out FOLDER [--json]
       npm run -s profiles -- --check FILE.mobileconfig…   [--json]

Makes the configuration profiles for an MDM from one settings file, or checks profiles that exist.
VALUES.json is what the backend prints with: npm run -s server -- profile-values --json
The settings file is described in docs/operating.md.
`;

export const write = ({ profile }: ProfileFile): string => build(profile as Parameters<typeof build>[0]);

function readProfile(path: string): ProfileFile {
  try {
    return { file: basename(path), profile: parse(readFileSync(path, 'utf8')) as Dictionary };
  } catch (error) {
    throw new Problem(
      'SERVER_SETTINGS_INVALID',
      `${path} is not a readable profile; a signed one has to be opened first (${error instanceof Error ? error.message : error})`,
    );
  }
}

const sentence = ({ rule, file, says, is }: Finding): string => `${is}: ${file}: ${says} (${rule})\n`;

/** Makes or checks; gives what goes to stdout and stderr, and the exit status. A mistake is 78, and then nothing is written. */
export function profiles(args: readonly string[], now: Date): { stdout: string; stderr: string; exit: number } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      settings: { type: 'string' },
      backend: { type: 'string' },
      out: { type: 'string' },
      check: { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return { stdout: usage, stderr: '', exit: 0 };
  const check = values.check === true && positionals.length > 0;
  const { settings, out } = values;
  if (!check && (settings === undefined || out === undefined || positionals.length > 0)) return { stdout: '', stderr: usage, exit: 64 };

  const loaded = settings === undefined ? null : loadSettings(settings, values.backend);
  const files = check || loaded === null ? positionals.map(readProfile) : makeProfiles(loaded);
  const findings = lint(files, now);
  const mistakes = findings.some(({ is }) => is === 'mistake');
  const written: string[] = [];
  if (!check && !mistakes && out !== undefined) {
    mkdirSync(out, { recursive: true });
    for (const file of files) {
      const path = join(out, file.file);
      // 0600: the settings may hold an enrolment ticket, the identity a challenge.
      writeFileSync(path, write(file), { mode: 0o600 });
      written.push(path);
    }
  }
  const escrow = loaded === null ? undefined : escrowFingerprint(loaded);
  const stdout = values.json
    ? `${JSON.stringify({ written, findings, escrowCertificate: escrow ?? null })}\n`
    : written.map((path) => `${path}\n`).join('') +
      (escrow !== undefined && written.length > 0 ? `New keys will be sealed to the certificate with SHA-256 ${escrow}.\n` : '');
  return { stdout, stderr: values.json ? '' : findings.map(sentence).join(''), exit: mistakes ? 78 : 0 };
}

if (import.meta.main) {
  try {
    const { stdout, stderr, exit } = profiles(process.argv.slice(2), new Date());
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exit;
  } catch (error) {
    const usageError = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
    if (!(error instanceof Problem) && !usageError) throw error;
    process.stderr.write(error instanceof Problem ? `sparekey: error: ${error.message}\nsparekey: fix: ${error.kind.fix}\n` : `${error.message}\n${usage}`);
    process.exitCode = error instanceof Problem ? error.kind.exit : 64;
  }
}
