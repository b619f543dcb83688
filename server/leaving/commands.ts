import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, table } from '../command.ts';
import { checkLeft, type LeftChecked } from './check.ts';
import { type Left, leave } from './leave.ts';

type Say = (words: string) => void;

/** A line for each tenth of the way, and none for what is done at once. */
function progressOf(what: string, say: Say): (done: number, all: number) => void {
  return (done, all) => {
    if (all >= 1000 && done % Math.ceil(all / 10) === 0) say(`${what}: ${done} of ${all}`);
  };
}

export async function leaveCommand(
  backend: Backend,
  given: { out: string; actor: string; reason: string; passphrase: string | null; say: Say },
): Promise<CommandResult> {
  const { out, actor, reason, passphrase, say } = given;
  const left = await leave(backend, { out, actor, reason, progress: progressOf('written', say) });
  const checked = passphrase === null ? null : await checkLeft(left.out, passphrase, progressOf('opened', say));
  const text = [sayLeft(left), ...(checked ? [sayChecked(checked)] : [])].join('\n');
  return {
    json: { ...left, checked },
    text,
    warnings: [...warningsOf(left), ...(checked ? [] : ['nothing was opened: try it with --check'])],
    ...exitOf(checked),
  };
}

export async function checkCommand({ out, passphrase, say }: { out: string; passphrase: string; say: Say }): Promise<CommandResult> {
  const checked = await checkLeft(out, passphrase, progressOf('opened', say));
  return { json: { checked }, text: sayChecked(checked), ...exitOf(checked) };
}

const exitOf = (checked: LeftChecked | null) => (checked && checked.damaged.length > 0 ? { exit: new Problem('LEAVING_DAMAGED').kind.exit } : {});

const sayLeft = ({ out, lines, files, kept, auditEntries }: Left): string =>
  `${out}: ${files} envelope(s) in ${lines} line(s) of the manifest${kept > 0 ? `, ${kept} of them from a run before` : ''}; ${auditEntries} entries of the audit; how to open them is in OPENING.md`;

function sayChecked({ files, opened, notOpened, damaged }: LeftChecked): string {
  const first = `${opened} of ${files} envelope(s) were opened${notOpened > 0 ? `; ${notOpened} could not be read here either` : ''}; ${damaged.length} damaged`;
  const rows = damaged.map(({ file, serial, because }) => [serial || '–', because, file]);
  return damaged.length === 0 ? first : `${first}\n\n${table(['serial', 'damage', 'file'], rows)}`;
}

const warningsOf = ({ withoutKey }: Left): string[] => [
  'whoever has this folder and the passphrase of the escrow key can open every key in it: keep the two apart',
  ...withoutKey.map((digest) => `the private key of certificate ${digest} is not in the data folder: put the offline copy of it beside this`),
];
