import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommandLine } from '../agent/command-line.ts';
import { commandLine as ctlCommandLine } from '../ctl/command-line.ts';
import { runProfiles } from '../profiles/command-line.ts';
import { runPackage } from '../scripts/package/command.ts';
import { commandLine } from '../server/command-line.ts';

/*
 * Command lines in a document, held against what the commands say of themselves with `--help`: in this process, without a
 * child for each. A reader types what is written there.
 */

type Words = readonly string[];
interface Help {
  /** By name: whether a value follows. */
  options: Map<string, boolean>;
  needed: string[];
  commands: string[];
  arguments: { least: number; most: number };
}
interface DocumentedCommand {
  /** Typed as it stands; in a sentence a command may be named without what follows it. */
  inBlock: boolean;
  words: Words;
}

const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')) as { scripts: Record<string, string> };

async function captured(run: () => Promise<unknown>): Promise<string> {
  const before = process.stdout.write;
  let text = '';
  process.stdout.write = (chunk: string | Uint8Array) => {
    text += chunk;
    return true;
  };
  try {
    await run();
  } finally {
    process.stdout.write = before;
  }
  return text;
}

const nobody = () => {
  throw new Error('nobody is asked by --help');
};
const programs: Record<string, (words: Words) => Promise<string>> = {
  server: (words) => captured(() => commandLine({ argv: ['node', 'sparekey-server', ...words, '--help'], operator: 'root', mountSites: async () => nobody() })),
  sparekeyctl: (words) =>
    captured(() =>
      ctlCommandLine({
        argv: ['node', 'sparekeyctl', ...words, '--help'],
        terminal: { out: nobody, err: nobody, isTerminal: false, isErrTerminal: false, colour: false, width: 0, ask: nobody },
        now: () => 0,
      }),
    ),
  sparekey: async (words) => {
    let text = '';
    const out = (said: string) => {
      text += said;
    };
    await runCommandLine([...words, '--help'], { version: '0', out, err: out, colour: false, interrupted: nobody, input: nobody });
    return text;
  },
  profiles: async (words) => (await runProfiles([...words, '--help'], new Date())).stdout,
  package: async (words) => {
    let text = '';
    const out = (said: string) => {
      text += said;
    };
    await runPackage([...words, '--help'], { out, err: out });
    return text;
  },
};

function readHelp(text: string): Help {
  const options = new Map([['--help', false]]);
  const needed: string[] = [];
  for (const [line, name = '', value] of text.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)(?: (<[^>]+>))?.*$/gm)) {
    options.set(name, value !== undefined);
    if (line.includes('(needed)')) needed.push(name);
  }
  const list = /^Commands:\n([\s\S]*?)(?:\n\n|$(?![\s\S]))/m.exec(text)?.[1] ?? '';
  const commands = [...list.matchAll(/^ {2}([\w-]+)/gm)].map(([, name = '']) => name);
  const usage = /^Usage: (.*)$/m.exec(text)?.[1] ?? '';
  const places = [...usage.matchAll(/<([^>]+)>|\[([^\]]+)\]/g)].filter(([, , optional]) => optional !== 'options' && optional !== 'command');
  return {
    options,
    needed,
    commands,
    arguments: {
      least: places.filter(([, required]) => required !== undefined).length,
      most: places.some(([place]) => place.includes('...')) ? Number.POSITIVE_INFINITY : places.length,
    },
  };
}

const known = new Map<string, Promise<Help>>();
function helpOf(program: string, words: Words): Promise<Help> {
  const key = [program, ...words].join(' ');
  const before = known.get(key);
  if (before) return before;
  const help = programs[program]?.(words).then(readHelp) ?? Promise.reject(new Error(program));
  known.set(key, help);
  return help;
}

/** The commands of one line: what stands between `;`, `|` and `&`. */
const commandsOf = (line: string): string[] => line.match(/(?:[^"';|&]|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];

/** Words as a shell would have them, without what is redirected. */
function shellWords(text: string): string[] {
  const words = text.match(/\d?>>?\s*\S+|(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];
  const comment = words.findIndex((word) => word.startsWith('#'));
  return (comment < 0 ? words : words.slice(0, comment)).filter((word) => !/^\d?>/.test(word));
}

const ours = /^\s*(?:(?:sudo|do|then|\()\s+)*((?:sparekey-server|sparekeyctl|sparekey|npm run)(?:\s.*)?)$/;

/** Every command line of ours in a document, in blocks and in sentences. */
export function commandsIn(document: string): DocumentedCommand[] {
  const blocks: string[] = [];
  const prose = document.replace(/^( *)```(\w*)\n([\s\S]*?)^\1```$/gm, (_whole, _indent, language: string, code: string) => {
    if (language === '' || language === 'sh') blocks.push(code.replace(/\\\n\s*/g, ' '));
    return '';
  });
  const texts = [
    // An explanation may stand behind a command, after two spaces.
    ...blocks.flatMap((code) => code.split('\n')).map((line) => ({ inBlock: true, text: line.trim().replace(/ {2,}.*$/, '') })),
    ...[...prose.matchAll(/`([^`]+)`/g)].map(([, text = '']) => ({ inBlock: false, text: text.replace(/\s+/g, ' ') })),
  ];
  return texts.flatMap(({ inBlock, text }) =>
    commandsOf(text).flatMap((command) => {
      const [, found] = ours.exec(command) ?? [];
      return found === undefined ? [] : [{ inBlock, words: shellWords(found) }];
    }),
  );
}

/** What is wrong with it, or null. */
export async function wrongWith({ words, inBlock }: DocumentedCommand): Promise<string | null> {
  const said = words.join(' ');
  let [program = '', ...left] = words;
  if (program === 'sparekey-server') program = 'server';
  else if (program === 'npm') {
    left = left.slice(left[1] === '-s' ? 2 : 1);
    program = left.shift() ?? '';
    if (!(program in scripts)) return `${said}: there is no npm script ${program}`;
    if (left[0] === '--') left.shift();
  }
  if (!(program in programs) || left.length === 0 || left[0] === '…' || left[0] === '...') return null;
  const path: string[] = [];
  let help = await helpOf(program, path);
  while (help.commands.length > 0) {
    const [next] = left;
    if (next !== undefined && help.commands.includes(next)) path.push(left.shift() ?? '');
    else if (next?.startsWith('-') && path.length === 0) break;
    // A group without a word after it is looked at.
    else if (help.commands.includes('list') && (next === undefined || next.startsWith('-'))) path.push('list');
    else if (next === undefined || next === '…') return null;
    else return `${said}: there is no command ${[...path, next].join(' ')}`;
    help = await helpOf(program, path);
  }
  const given: string[] = [];
  const named = new Set<string>();
  while (left.length > 0) {
    const word = left.shift() ?? '';
    if (/^-\w$/.test(word)) continue;
    if (!word.startsWith('--')) given.push(word);
    else {
      const [name = '', value] = word.split('=', 2);
      named.add(name);
      const takes = help.options.get(name);
      if (takes === undefined) return `${said}: ${[program, ...path].join(' ')} has no ${name}`;
      if (takes && value === undefined && left.shift() === undefined && inBlock) return `${said}: ${name} needs a value`;
    }
  }
  if (given.includes('…')) return null;
  if (given.length > help.arguments.most) return `${said}: takes ${help.arguments.most} words at most`;
  if (!inBlock || named.has('--help')) return null;
  if (given.length < help.arguments.least) return `${said}: takes ${help.arguments.least} words`;
  // A rehearsal is no act, and needs no reason.
  const missing = named.has('--dry-run') ? undefined : help.needed.find((name) => !named.has(name));
  return missing === undefined ? null : `${said}: needs ${missing}`;
}
