import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ended } from './stage.ts';

/*
 * Upgrades of a backend that serves, by install.sh under a systemd that runs: the same database and back, without the socket and
 * with it again, and a release with another database, from which the way back is a copy.
 */

/** What was seen; each is true where it went as docs/deploy/backend.md says. */
export interface UpgradesSeen {
  /** After an upgrade over the running backend, and after the way back. */
  sameSchema: boolean;
  /** `--without-socket`: taken, kept by an upgrade and by `--use`, and given back; the backend serves after each. */
  withoutSocket: boolean;
  /** The older program refuses the newer database with DATABASE_TOO_NEW and names the copy that it can read. */
  refusedInWords: boolean;
  /** By that copy the older release serves again. */
  backByCopy: boolean;
}

export interface Upgrading {
  /** The unpacked release that is installed, on this machine and inside. */
  unpacked: string;
  at(...parts: string[]): string;
  /** On this machine. */
  run(program: string, args: readonly string[]): Promise<Ended>;
  inside(args: readonly string[]): Promise<Ended>;
  must(what: string, ran: Promise<Ended>): Promise<Ended>;
  /** Starts socket and service, and waits until it serves. */
  start(): Promise<void>;
  note(line: string): void;
}

const unit = '/usr/local/lib/systemd/system/sparekey.socket';
const data = '/var/lib/sparekey/data';

function replace(file: string, text: string): void {
  rmSync(file);
  writeFileSync(file, text);
}

export async function tryUpgrades(it: Upgrading): Promise<UpgradesSeen> {
  const { inside, must } = it;
  const version = readFileSync(join(it.unpacked, 'VERSION'), 'utf8').trim();
  /** A release that calls itself another one, unpacked in there. */
  const release = async (name: string, more: (at: string) => void = () => {}): Promise<string> => {
    // As links, which takes no time: what is to be another file is written anew.
    await must('cp', it.run('cp', ['-al', it.unpacked, it.at('root', name)]));
    replace(it.at('root', name, 'VERSION'), `${name}\n`);
    more(it.at('root', name));
    return `/root/${name}/install.sh`;
  };
  const install = (file: string, ...args: string[]) => inside(['sh', file, ...args]);
  const serves = async (what: string, ran: Promise<Ended>): Promise<boolean> => (await must(what, ran)).stdout.includes('and serves');
  const hasSocket = async () => (await inside(['test', '-e', unit])).code === 0;
  const isActive = async (name: string) => (await inside(['systemctl', 'is-active', name])).stdout.trim() === 'active';

  it.note('an upgrade, and the way back');
  const next = await release('99.0.0');
  const sameSchema = (await serves('upgrade', install(next))) && (await serves('way back', install(next, '--use', version)));

  it.note('without the socket, and with it again');
  const without = [await serves('--without-socket', install(next, '--without-socket')), !(await hasSocket()), await isActive('sparekey.service')];
  without.push(await serves('--use without a socket', install(next, '--use', version)), !(await hasSocket()), await isActive('sparekey.service'));
  without.push(await serves('--with-socket', install(next, '--use', version, '--with-socket')), await hasSocket(), await isActive('sparekey.socket'));

  it.note('a release with another database');
  const newer = await release('99.1.0', (at) => {
    const file = join(at, 'app/server/database.ts');
    const text = readFileSync(file, 'utf8');
    const list = /^(const migrations: .* = \[)([^\]]*?),?\s*\];/m;
    if (!list.test(text)) throw new Error(`${file} has no list of migrations in the form that is known here`);
    const made = "async (db) => void (await db.schema.createTable('made_up').addColumn('id', 'text').execute())";
    replace(
      file,
      text.replace(list, (_, head, those) => `${head}${those}, ${made}];`),
    );
  });
  await serves('an upgrade of the database', install(newer));
  const refused = await install(newer, '--use', version);
  const copy = /\/var\/lib\/sparekey\/data\/before-upgrades\/schema-\d+-\d{8}T\d{6}Z\.tar/.exec(refused.stderr)?.[0];
  const refusedInWords = refused.code === 75 && refused.stderr.includes('DATABASE_TOO_NEW') && copy !== undefined;
  if (!refusedInWords) it.note(`refused otherwise than documented (${refused.code}): ${refused.stdout}${refused.stderr}`);
  if (copy === undefined) throw new Error(`the way back named no copy:\n${refused.stdout}${refused.stderr}`);

  it.note('back by the copy that it names');
  const aside = `${data}-99.1.0`;
  await must('the newer one again', install(newer, '--use', '99.1.0'));
  // As docs/deploy/backend.md has it, word for word but for the versions.
  const steps = [
    'umask 077; sparekey-server revocations > /root/revocations.json',
    'systemctl stop sparekey.service sparekey.socket',
    `mv ${data} ${aside}`,
    'install -o sparekey -m 0600 /root/revocations.json /var/lib/sparekey/revocations.json',
    `sh ${newer} --use ${version}`,
    `sparekey-server restore ${copy.replace(data, aside)} --revocations /var/lib/sparekey/revocations.json`,
  ];
  for (const step of steps) await must(step, inside(['sh', '-c', step]));
  await it.start();
  return { sameSchema, withoutSocket: without.every(Boolean), refusedInWords, backByCopy: await isActive('sparekey.service') };
}
