// scutil --proxy: the dictionary that macOS prints for its proxy settings, as many scripts read it; --get: one name (scutil(8)).
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

export const scutil = ({ state: { proxy, computerName } }: Asked, args: readonly string[]): Outcome => {
  if (args.join(' ') === '--get ComputerName') return computerName === null ? says('', 1) : says(`${computerName}\n`);
  if (args.join(' ') !== '--proxy') return hasNo('/usr/sbin/scutil', args);
  const lines = proxy
    ? ['  HTTPSEnable : 1', `  HTTPSPort : ${proxy.port}`, `  HTTPSProxy : ${proxy.https}`]
    : ['  HTTPEnable : 0', '  HTTPSEnable : 0', '  ProxyAutoConfigEnable : 0'];
  return says(`<dictionary> {\n${lines.map((line) => `${line}\n`).join('')}}\n`);
};
