import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { macScript, type ScriptFacts } from '../scripts/package/scripts.ts';
import { scratch } from './scratch.ts';

/*
 * The scripts of the package, run by the machine's own sh on a folder that stands for a Mac. launchctl and its like are
 * stand-ins that do what is written into files; time is a file too, so that nobody waits.
 */

type Script = 'preinstall' | 'postinstall' | 'uninstall.sh' | 'reload.sh';
const facts: ScriptFacts = { architectures: ['arm64'], minimumMacos: '13.5', journalVersion: 1 };

const pathLine = 'PATH=/usr/bin:/bin:/usr/sbin:/sbin\n';
const rootLine = "root=''\n";

/** The script as it is shipped, but for where it finds programs and the Mac. */
export function adapted(script: Script, root: string, path: string, its: ScriptFacts = facts, shipped = macScript(script, its)): string {
  for (const line of [pathLine, rootLine]) if (!shipped.includes(line)) throw new Error(`${script} has no line ${line}`);
  return shipped.replace(pathLine, `PATH='${path}'\n`).replace(rootLine, `root='${root}'\n`);
}

const standIn: Record<string, string> = {
  // print: by whether `loaded` is there. bootout and bootstrap: the exit status is the next line of a list, 0 where there is none.
  launchctl: `
echo "launchctl $*" >>"$mac/said"
next() { [ -s "$mac/$1" ] || { echo 0; return; }; head -n 1 "$mac/$1"; sed 1d "$mac/$1" >"$mac/rest"; mv "$mac/rest" "$mac/$1"; }
case $1 in
print)
  if [ -f "$mac/going" ]; then left=$(cat "$mac/going"); if [ "$left" -gt 0 ]; then echo $((left - 1)) >"$mac/going"; exit 0; fi; rm -f "$mac/going" "$mac/loaded"; fi
  [ -f "$mac/loaded" ] && exit 0
  echo 'Bad request.' >&2; exit 113 ;;
bootout) code=$(next bootout); [ -f "$mac/loaded" ] || code=3
  [ -f "$mac/at-bootout" ] && . "$mac/at-bootout"
  if [ "$code" = 0 ] || [ "$code" = 37 ]; then cat "$mac/drain" >"$mac/going" 2>/dev/null || echo 0 >"$mac/going"; fi
  exit "$code" ;;
bootstrap) code=$(next bootstrap); [ -f "$mac/loaded" ] && code=5
  [ "$code" = 0 ] && touch "$mac/loaded"
  [ "$code" = 0 ] || echo "Bootstrap failed: $code: Input/output error" >&2
  exit "$code" ;;
kickstart) [ -f "$mac/loaded" ] && exit 0; exit 113 ;;
esac
exit 0`,
  // The run that \`ps\` shows ends after so many seconds.
  sleep: `
echo "$1" >>"$mac/slept"
[ -f "$mac/run-lasts" ] || exit 0
left=$(cat "$mac/run-lasts")
if [ "$left" -le "$1" ]; then rm -f "$mac/run-lasts" "$mac/ps"; else echo $((left - $1)) >"$mac/run-lasts"; fi`,
  ps: `case $* in
'-axww -o pid=,uid=,args=') awk '{ uid = 0; n = 3; if ($3 ~ /^uid=/) { uid = substr($3, 5); n = 4 } print $1, uid, substr($0, index($0, $n)) }' "$mac/ps" 2>/dev/null ;;
'-axww -o pid=,ppid=,args=') sed 's/ uid=[0-9]*//' "$mac/ps" 2>/dev/null; echo "$PPID 1 /bin/sh script" ;;
esac; exit 0`,
  sysctl: `case $2 in kern.bootsessionuuid) echo 11111111-2222-3333-4444-555555555555 ;; hw.optional.arm64) cat "$mac/is-arm" 2>/dev/null || exit 1 ;; esac`,
  uname: `cat "$mac/uname"`,
  sw_vers: `cat "$mac/macos"`,
  id: `cat "$mac/uid"`,
  pkgutil: `echo "pkgutil $*" >>"$mac/said"; case $1 in --pkg-info) [ -f "$mac/receipt" ] ;; --forget) cat "$mac/forget-fails" >/dev/null 2>&1 && exit 1; rm -f "$mac/receipt" ;; esac`,
  security: `echo "security $*" >>"$mac/said"; [ -s "$mac/keychain" ] || exit 44; sed 1d "$mac/keychain" >"$mac/rest"; mv "$mac/rest" "$mac/keychain"`,
  chown: `echo "chown $*" >>"$mac/owned"`,
};

const boot = '11111111-2222-3333-4444-555555555555';
const state = 'private/var/db/io.sparekey.agent';

export function madeMac() {
  const folder = scratch('mac-scripts');
  const [root, control, bin] = [join(folder, 'root'), join(folder, 'control'), join(folder, 'bin')];
  for (const one of [root, control, bin, join(root, 'private/var/db'), join(root, 'private/var/run'), join(root, 'Library/Logs')])
    mkdirSync(one, { recursive: true });
  for (const [name, body] of Object.entries(standIn)) {
    writeFileSync(join(bin, name), `#!/bin/sh\nmac='${control}'\n${body}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const read = (name: string): string[] => (existsSync(join(control, name)) ? readFileSync(join(control, name), 'utf8').trim().split('\n') : []);
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const mac = {
    root,
    control,
    put,
    has: (path: string): boolean => existsSync(join(root, path)),
    /** What the stand-ins go by: a file of this name. */
    set: (name: string, value: string | number = ''): void => writeFileSync(join(control, name), `${value}\n`),
    /** What launchctl and others were told, in order. */
    said: (): string[] => read('said'),
    isLoaded: (): boolean => existsSync(join(control, 'loaded')),
    slept: (): number => read('slept').reduce((sum, one) => sum + Number(one), 0),
    /** A run of the agent is alive for so many seconds; `more`: further processes, as pid, parent, `uid=501` where it is not root's, and arguments. */
    runs(seconds: number, more: readonly string[] = [], its = boot): void {
      put(`${state}/lock`, JSON.stringify({ pid: 4711, boot: its }));
      mac.set('ps', ['4711 1 /Library/Sparekey/bin/node --disable-sigusr1 /Library/Sparekey/lib/sparekey.mjs check-in', ...more].join('\n'));
      mac.set('run-lasts', seconds);
    },
    journal(rotation: string, outbox = '[]'): void {
      put(`${state}/journal.json`, `{"version":1,"outbox":${outbox},"rotation":${rotation},"debts":[]}\n`);
    },
    run(script: Script, args: readonly string[] = ['/tmp/a.pkg', '/', '/', '/'], its?: ScriptFacts) {
      const file = join(folder, script);
      writeFileSync(file, adapted(script, root, `${bin}:/usr/bin:/bin`, its));
      const { status, stderr, stdout } = spawnSync('/bin/sh', [file, ...args], { encoding: 'utf8', timeout: 60_000, env: {} });
      return { exit: status, stderr, stdout };
    },
  };
  mac.set('uname', 'arm64');
  mac.set('is-arm', 1);
  mac.set('macos', '15.6.1');
  mac.set('uid', 0);
  return mac;
}
