import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { tellFleetStory, untrueOf } from './fleet-story.ts';
import { consoleToTry, inLines, lanAddress, portalToTry } from './portal-stage.ts';
import { openStage, repository, type Stage } from './stage.ts';
import { type Measured, type Telling, tellStory } from './story.ts';

/*
 * `npm start`: a backend, five Macs that are made up, the portal, the agent that ships, and the story that joins them. With `--once` it
 * ends after the story; without, the backend goes on running and everything can be tried by hand.
 */

const help = `npm start                     the story, then a backend to try things on (Ctrl-C ends it)
npm start -- --once           the story, then the end; exit 1 if anything in it was untrue
npm start -- --once --json    the same; the last line is one JSON object
npm start -- --existing-fleet  another story: Macs whose MDM escrows already (with --once and --json as above)
npm start -- --lan            the portal is for this whole network: its address and QR code, for a real phone

  --dir DIR    where everything is kept (default: try-out; an earlier try-out there is removed)
`;
const marker = '.sparekey-try-out';

const { values } = parseArgs({
  options: {
    once: { type: 'boolean' },
    json: { type: 'boolean' },
    lan: { type: 'boolean' },
    'existing-fleet': { type: 'boolean' },
    dir: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const wanted = { once: values.once === true, json: values.json === true, lan: values.lan === true, fleet: values['existing-fleet'] === true };
process.exitCode = await start(wanted, values.dir);

async function start({ once, json, lan, fleet }: typeof wanted, dir: string | undefined): Promise<number> {
  const people = peoplesHost(lan);
  // With --json, stdout is for programs: what people read goes to stderr.
  const screen = json ? process.stderr : process.stdout;
  const folder = prepareFolder(once, dir);
  const file = join(folder, 'story.log');
  const note = (line: string) => appendFileSync(file, `${line}\n`);
  const interactive = !once && process.stdin.isTTY === true;
  screen.write(`Setting up a backend and the first of ${fleet ? 'six' : 'five'} Macs …\n`);
  const began = Date.now();
  const stage = await openStage(folder, { settleSeconds: 2, killSeconds: interactive ? 8 : 2, offlineCopy: true, people });
  let sentences = 0;
  const telling: Telling = {
    say: (sentence, byHand) => {
      sentences++;
      screen.write(`\n${inLines(`${sentences}. ${sentence}`, 3)}\n`);
      note(`${sentences}. ${sentence}`);
      for (const line of byHand) {
        note(`   ${line}`);
        if (!once) screen.write(`     ${line}\n`);
      }
    },
    note,
    mayMoveClock: once,
    killWanted: interactive ? (until) => askForKill(screen, until) : async () => true,
  };
  let told: Told;
  try {
    told = await (fleet ? tellFleet(stage, telling) : tellAll(stage, telling));
  } catch (cause) {
    await stage.stop();
    screen.write(`\nThe story could not be told to its end: ${(cause as Error).message}\nMore in ${file}\n`);
    return 1;
  }
  const seconds = Math.round((Date.now() - began) / 100) / 10;
  const { measured, untrue } = told;
  for (const name of untrue) screen.write(`\nUntrue: ${name} is ${measured[name]}. The log says more: ${file}\n`);
  if (once) {
    await stage.stop();
    if (untrue.length === 0)
      screen.write(
        `\nAll of it was true, in ${seconds} seconds.${measured['opensslOpensEnvelope'] === null ? ' (Opening an envelope with openssl was not tried: there is none here.)' : ''}\n`,
      );
    if (untrue.length === 0 && dir === undefined) rmSync(folder, { recursive: true, force: true });
    if (json) process.stdout.write(`${JSON.stringify({ ...measured, seconds, untrue })}\n`);
    return untrue.length === 0 ? 0 : 1;
  }
  screen.write(afterwards(stage, folder, file));
  if (!fleet) screen.write(await portalToTry(stage, screen === process.stdout && process.stdout.isTTY === true && lan));
  if (!fleet) screen.write(await consoleToTry(stage));
  await endOfTrying();
  await stage.stop();
  screen.write('\nThe backend has ended. `npm start` begins a new try-out.\n');
  return untrue.length === 0 ? 0 : 1;
}

interface Told {
  measured: Record<string, unknown>;
  /** The names of what was not as it has to be. */
  untrue: string[];
}

async function tellAll(stage: Stage, telling: Telling): Promise<Told> {
  const measured: Measured = await tellStory(stage, telling);
  const isUntrue = ([name, value]: [string, unknown]) => (name === 'plaintextFound' ? value !== 0 : value === false);
  return {
    measured: { ...measured },
    untrue: Object.entries(measured)
      .filter(isUntrue)
      .map(([name]) => name),
  };
}

async function tellFleet(stage: Stage, telling: Telling): Promise<Told> {
  const measured = await tellFleetStory(stage, telling);
  return { measured: { ...measured }, untrue: untrueOf(measured) };
}

/** Where the portal is: by a name that every browser knows as this machine, or by this machine's address in its network. */
function peoplesHost(lan: boolean): { host: string; name: string } {
  if (!lan) return { host: '127.0.0.1', name: 'localhost' };
  const address = lanAddress();
  if (address !== null) return { host: address, name: address };
  process.stderr.write('npm start: error: this machine has no address in a network\nnpm start: fix: connect it to one, or leave --lan out\n');
  process.exit(75);
}

/** A folder of our own: an earlier try-out is replaced, anything else is refused. */
function prepareFolder(once: boolean, dir: string | undefined): string {
  if (once && dir === undefined) return mkdtempSync(join(tmpdir(), 'sparekey-story-'));
  const folder = resolve(dir ?? join(repository, 'try-out'));
  if (existsSync(folder) && !existsSync(join(folder, marker))) {
    process.stderr.write(`npm start: error: ${folder} is there already, and is no try-out\nnpm start: fix: name another folder with --dir\n`);
    process.exit(64);
  }
  const pid = runningBackend(folder);
  if (pid !== null) {
    process.stderr.write(
      `npm start: error: the backend of the last try-out is still running (process ${pid})\nnpm start: fix: end it with Ctrl-C where it runs\n`,
    );
    process.exit(75);
  }
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, marker), 'Made by `npm start`, which may remove this folder.\n');
  return folder;
}

function runningBackend(folder: string): number | null {
  try {
    const pid = Number(readFileSync(join(folder, 'backend.pid'), 'utf8'));
    process.kill(pid, 0);
    return pid;
  } catch {
    return null;
  }
}

function askForKill(screen: NodeJS.WritableStream, until: Promise<unknown>): Promise<boolean> {
  screen.write('\n   Ada’s Mac is replacing its key right now: press K to kill the agent in the middle of it … ');
  const { stdin } = process;
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((done) => {
    let over = false;
    const end = (killed: boolean) => {
      if (over) return;
      over = true;
      stdin.off('data', pressed);
      stdin.setRawMode(false);
      stdin.pause();
      screen.write(killed ? 'killed.\n' : 'nobody pressed it.\n');
      done(killed);
    };
    const pressed = (data: Buffer) => {
      if (data.includes(3)) process.kill(process.pid, 'SIGINT');
      if (/k/i.test(data.toString())) end(true);
    };
    stdin.on('data', pressed);
    void until.then(() => end(false));
  });
}

function afterwards(stage: Stage, folder: string, file: string): string {
  return `
The backend goes on running at ${stage.url}.
The lines under each sentence repeat that step by hand.

  What can be done now
    npm run -s server -- status --dir ${stage.data}
    npm run -s server -- audit verify --dir ${stage.data}
    npm run -s server -- backup /tmp/sparekey-backup --dir ${stage.data}
    npm run -s fake-mac -- ${join(folder, 'bob')} show
    npm run -s fake-mac -- --help

  One more Mac (a Mac is given its key for one reason a day: a new one is best for trying it again)
    ${stage.createCommand('gus')}
    npm run -s fake-mac -- ${join(folder, 'gus')} job

  Where things are
    ${stage.data}   the backend's data
    ${folder}/{ada,bob,cem,dora,eva,finn}   the Macs
    ${file}   everything that happened

  To start over: Ctrl-C, then npm start.
`;
}

function endOfTrying(): Promise<void> {
  return new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done());
  });
}
