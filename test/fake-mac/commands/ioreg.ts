// ioreg. The two properties of IOPlatformExpertDevice are read in this form by many tools. `efilogin-unlock-ident` of
// /chosen is read by osquery, NoMAD and XCreds on Intel; on Apple silicon nobody has seen it, so a quirk takes it away.
// Modelled: that ioreg prints it as bytes, `<…>` in hex with a closing 00, as it prints other data properties.
import { recoveryUser, userOf } from '../state.ts';
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

const platform = ({ state }: Asked): Outcome =>
  says(
    [
      `+-o ${state.model}  <class IOPlatformExpertDevice, id 0x100000110, registered, matched, active, busy 0 (0 ms), retain 40>`,
      '    {',
      `      "IOPlatformSerialNumber" = "${state.serial}"`,
      `      "IOPlatformUUID" = "${state.hardwareUuid}"`,
      `      "model" = <"${state.model}">`,
      '      "manufacturer" = <"Apple Inc.">',
      '    }',
      '    ',
      '',
    ].join('\n'),
  );

const chosen = ({ state }: Asked): Outcome => {
  const by = state.boot.unlockedBy;
  const ident = by === null ? null : 'recovery' in by ? recoveryUser : (userOf(state, by.user)?.uuid ?? null);
  const told =
    ident !== null && state.quirks.unlockIdentity === 'there' ? [`    "efilogin-unlock-ident" = <${Buffer.from(`${ident}\0`).toString('hex')}>`] : [];
  return says(
    [
      '+-o chosen  <class IOService, id 0x100000105, !registered, !matched, active, busy 0, retain 6>',
      '  {',
      '    "name" = <"chosen">',
      ...told,
      '  }',
      '  ',
      '',
    ].join('\n'),
  );
};

/** Read by scripts that ask whether the screen is locked; the surroundings are left out. */
const rootOf = ({ state }: Asked): Outcome =>
  says(
    [
      '+-o Root  <class IORegistryEntry, id 0x100000100, retain 16>',
      '  {',
      `    "IOConsoleLocked" = ${state.console.screenLocked ? 'Yes' : 'No'}`,
      '  }',
      '  ',
      '',
    ].join('\n'),
  );

export const ioreg = (asked: Asked, args: readonly string[]): Outcome => {
  const line = args.join(' ');
  if (/^(-rd1 -c|-r -d 1 -c|-r -d1 -c|-d1 -r -c|-d2 -c|-rd1 -w0 -c) IOPlatformExpertDevice$/.test(line)) return platform(asked);
  if (/^-p IODeviceTree (-r )?(-d1 )?(-rd1 )?-n chosen$/.test(line) || line === '-rd1 -p IODeviceTree -n chosen') return chosen(asked);
  if (line === '-n Root -d1') return rootOf(asked);
  return hasNo('/usr/sbin/ioreg', args);
};
