// sw_vers: options and output from its manual page.
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

export const swVers = ({ state: { macos } }: Asked, args: readonly string[]): Outcome => {
  switch (args.join(' ')) {
    case '-productVersion':
    case '--productVersion':
      return says(`${macos.version}\n`);
    case '-buildVersion':
    case '--buildVersion':
      return says(`${macos.build}\n`);
    case '-productName':
    case '--productName':
      return says('macOS\n');
    case '':
      return says(`ProductName:\t\tmacOS\nProductVersion:\t\t${macos.version}\nBuildVersion:\t\t${macos.build}\n`);
    default:
      return hasNo('/usr/bin/sw_vers', args);
  }
};
