// sysctl -n of the boot session and the boot time. The form of kern.boottime is the one that scripts take apart; the
// microseconds and the words after the brace are examples in the right form.
import { type Asked, complains, hasNo, type Outcome, says } from './outcome.ts';

export const sysctl = ({ state: { boot, model, chip } }: Asked, args: readonly string[]): Outcome => {
  const [option, name, ...more] = args;
  if (option !== '-n' || name === undefined || more.length) return hasNo('/usr/sbin/sysctl', args);
  if (name === 'kern.bootsessionuuid') return says(`${boot.session}\n`);
  if (name === 'hw.model') return says(`${model}\n`);
  if (name === 'machdep.cpu.brand_string') return says(`${chip}\n`);
  if (name === 'kern.boottime') {
    const seconds = Math.floor(boot.bootedAt / 1000);
    const [weekday, day, month, year, clock] = new Date(boot.bootedAt).toUTCString().replace(',', '').split(' ');
    const micros = Math.floor((boot.bootedAt % 1000) * 1000);
    return says(`{ sec = ${seconds}, usec = ${micros} } ${weekday} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year}\n`);
  }
  return complains(1, `sysctl: unknown oid '${name}'`);
};
