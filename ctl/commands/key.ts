import type { broughtKey, deviceKey } from '../../console/operations/key-reply.ts';
import { Problem } from '../../protocol/problems.ts';
import { ago } from '../output.ts';
import type { Ctl, Result } from '../result.ts';
import type { OutOf } from '../shapes.ts';

export interface Disclosing {
  mac: string;
  reason: string;
  ticket?: string;
  request?: string;
  breakGlass: boolean;
  refused: string[];
  volume?: string;
  yes: boolean;
}

/**
 * Shows one key of one Mac. At a terminal on a screen of its own, which is left with Enter or when the five minutes are over, so that
 * the key is in no scrollback; for a program on standard output.
 */
export async function disclose(ctl: Ctl, { mac, request, yes, ...given }: Disclosing): Promise<Result> {
  const { api, terminal, now } = ctl;
  await ctl.confirm(`The key of ${mac} is shown to you, its user is told, and it is replaced afterwards.`, yes);
  const said = await api.ask<OutOf<typeof deviceKey>>({
    method: 'POST',
    path: '/v1/devices/{id}/key',
    input: { id: mac, ...given, ...(request === undefined ? {} : { requestId: request }) },
  });
  const notes = [
    `${said.serial}: shown and in the audit (${said.disclosureId}); it is replaced once its person is back in, or when the hold has ended`,
    ...(said.rotationOpen ? ['this Mac is just replacing its key: if this one is refused, ask again in a minute'] : []),
    ...(said.unprovedFrom === null ? [] : [`it came from ${said.unprovedFrom}, and was never tried on the Mac`]),
    ...(said.others > 0 ? [`${said.others} more may be the one: if this is refused, add --refused ${said.recordId}`] : []),
    ...(said.reviewBy === null ? [] : [`somebody else looks at this ${ago(said.reviewBy, now())}`]),
  ];
  if (ctl.json || !terminal.isTerminal || !terminal.isErrTerminal) return { json: said, text: said.recoveryKey, notes };
  await showOnOwnScreen(ctl, said);
  return { json: said, text: '', notes };
}

/** A key that only others had, with what is not known of it said first. */
export async function discloseBrought(ctl: Ctl, { mac, request, yes, ...given }: Omit<Disclosing, 'breakGlass' | 'volume'>): Promise<Result> {
  const { api, terminal } = ctl;
  await ctl.confirm(`A key that others had for ${mac} is shown to you. It was never proved, and may not open that Mac.`, yes);
  const said = await api.ask<OutOf<typeof broughtKey>>({
    method: 'POST',
    path: '/v1/devices/{id}/brought-key',
    input: { id: mac, ...given, ...(request === undefined ? {} : { requestId: request }) },
  });
  const notes = [
    `NEVER PROVED: it came from ${said.source} on ${said.broughtAt.slice(0, 10)}${said.madeAt === null ? '' : `, which says that it was made on ${said.madeAt.slice(0, 10)}`}; nobody knows whether it opens ${said.serial}`,
    said.replaceUntil === null
      ? 'in the audit; its replacement is owed once the Mac has said true to it'
      : `in the audit; only the MDM can replace it: have that done until ${said.replaceUntil.slice(0, 10)}`,
    ...(said.others > 0 ? [`${said.others} more were brought: if this is refused, add --refused ${said.broughtKeyId}`] : []),
  ];
  if (ctl.json || !terminal.isTerminal || !terminal.isErrTerminal) return { json: said, text: said.recoveryKey, notes };
  await showOnOwnScreen(ctl, { ...said, serial: `${said.serial}: NEVER PROVED` });
  return { json: said, text: '', notes };
}

/** The other screen of a terminal: what stood there is back afterwards, and the key is not. */
async function showOnOwnScreen(
  { terminal, now }: Ctl,
  { serial, recoveryKey, hideAt }: Pick<OutOf<typeof deviceKey>, 'serial' | 'recoveryKey' | 'hideAt'>,
): Promise<void> {
  const [enter, leave] = ['\u001b[?1049h\u001b[H\u001b[2J', '\u001b[2J\u001b[?1049l'];
  const groups = recoveryKey.split('-');
  terminal.out(
    `${enter}${serial}\n\n    ${groups.slice(0, 3).join('  -  ')}  -\n    ${groups.slice(3).join('  -  ')}\n\nHidden ${ago(hideAt, now())}, or with Enter. Write it nowhere.\n`,
  );
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      // Ctrl-C takes it away too, and is no failure: it was shown.
      terminal.ask('').catch(() => null),
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.max(0, Date.parse(hideAt) - now()));
      }),
    ]);
  } finally {
    clearTimeout(timer);
    terminal.out(leave);
  }
}

/** For an act that needs a reason of its own words. */
export function reasonOf(reason: unknown): string {
  const text = typeof reason === 'string' ? reason.trim() : '';
  if (text === '') throw new Problem('REASON_MISSING');
  return text;
}
