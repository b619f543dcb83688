// sfltool dumpbtm: records of daemons as captured on macOS 13 to 26. Seen: `allowed` and, after somebody switched one off in
// Login Items, `disallowed`. Modelled: that a daemon's record is there from its installation on.
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

export const sfltool = ({ state }: Asked, args: readonly string[]): Outcome => {
  if (args.join(' ') !== 'dumpbtm') return hasNo('/usr/bin/sfltool', args);
  const records = Object.entries(state.jobs).map(([label, { path, disallowed }], at) =>
    [
      ` #${at + 1}:`,
      '                 UUID: 5A133E95-92FB-42BA-859C-2A0675FC20AF',
      '                 Name: node',
      '       Developer Name: (null)',
      '                 Type: legacy daemon (0x10010)',
      `          Disposition: ${disallowed ? '[enabled, disallowed, visible, notified] (0x9)' : '[enabled, allowed, notified] (0xb)'}`,
      `           Identifier: 16.${label}`,
      `                  URL: file://${path}`,
      '      Executable Path: /Library/Sparekey/bin/node',
      '',
    ].join('\n'),
  );
  const line = '========================';
  return says([line, ' Records for UID -2 : FFFFEEEE-DDDD-CCCC-BBBB-AAAAFFFFFFFE', line, '', ' Items:', '', ...records].join('\n'));
};
