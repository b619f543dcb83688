import type { Census, Judged } from './fleet.ts';
import { agentComes, sentenceOf } from './judge.ts';

type Column = readonly [string, (one: Judged) => string | null];

const columns: readonly Column[] = [
  ['serial', ({ mac }) => mac.serial],
  ['ring', ({ ring }) => ring],
  ['mode', ({ judgement }) => judgement.mode],
  ['next', ({ judgement }) => judgement.next],
  ['obstacles', ({ judgement }) => judgement.obstacles.map(({ code }) => code).join(' ')],
  ['payload owner', ({ judgement }) => judgement.owner],
  ['payload', ({ judgement }) => judgement.ownerName],
  ['location', ({ mac }) => mac.payloads?.[0]?.location ?? mac.payloadHint],
  ['when the agent comes', ({ judgement }) => agentComes[judgement.agent].says],
  ['when our payload comes', ({ judgement }) => sentenceOf(judgement.payload)],
  ['filevault', ({ mac }) => mac.fileVault],
  ['personal key', ({ mac }) => mac.personalKey],
  ['escrow file days', ({ mac }) => (mac.escrowFile?.ageDays == null ? '' : String(mac.escrowFile.ageDays))],
  ['bootstrap token', ({ mac }) => mac.bootstrapToken.escrowed],
  ['secure token users', ({ mac }) => (mac.secureTokenUsers === null ? '' : String(mac.secureTokenUsers))],
  ['recovery lock', ({ mac }) => mac.recoveryLock],
  ['macos', ({ mac }) => mac.macos],
  ['build', ({ mac }) => mac.build],
  ['model', ({ mac }) => mac.model],
  ['chip', ({ mac }) => mac.chip],
  ['mdm', ({ mac }) => mac.mdm.server],
  ['rotators', ({ mac }) => [...mac.rotators.byThemselves, ...mac.rotators.byOrder].join(' ')],
  ['agent installed', ({ mac }) => (mac.sparekey.installed ? 'yes' : 'no')],
  ['answered', ({ mac }) => mac.at],
];

/** Macs say some of it: a spreadsheet must not take it for a formula, nor a line end for a new row. */
function cell(value: string | null): string {
  const flat = (value ?? '').replace(/\p{C}+/gu, ' ');
  const text = /^[=+\-@]/.test(flat) ? `'${flat}` : flat;
  return /[",;\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One row a Mac, in the order of the rings within their serial numbers' order. */
export const reportCsv = (census: Census): string =>
  [columns.map(([name]) => name).join(','), ...census.macs.map((one) => columns.map(([, of]) => cell(of(one))).join(','))]
    .map((line) => `${line}\r\n`)
    .join('');
