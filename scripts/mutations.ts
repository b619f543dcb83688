// Breaks one thing at a time that the promise stands on, in a copy of the tree, and runs the test that has to notice.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { adminMutations } from '../test/admin-mutations.ts';
import { coexistenceMutations } from '../test/coexistence-mutations.ts';
import { deployMutations } from '../test/deploy-mutations.ts';
import { type Mutation, mutations as ofThePromise } from '../test/mutations.ts';
import { portalMutations } from '../test/portal-mutations.ts';

const root = join(import.meta.dirname, '..');
const copied = [
  'agent',
  'server',
  'web',
  'portal',
  'console',
  'ctl',
  'protocol',
  'profiles',
  'launchd',
  'scripts',
  'test',
  'docs',
  'deploy',
  'LICENSE',
  'package-lock.json',
  'jest.config.ts',
  'package.json',
  'tsconfig.json',
];

/** What a test said: of its name there is one, and it passed or failed; or there was none. */
type Answer = 'passed' | 'failed' | 'not-run';

interface Seen {
  breaks: string;
  test: string;
  whole: Answer;
  broken: Answer;
  found: boolean;
}

function copyTree(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-mutations-'));
  for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** Runs one named test alone, in a process of its own. */
function runTest(folder: string, { test }: Mutation): Promise<Answer> {
  const results = join(folder, 'results.json');
  rmSync(results, { force: true });
  const jest = ['--disable-warning=ExperimentalWarning', join(folder, 'node_modules/jest/bin/jest.js')];
  const args = [...jest, test.file, '-t', escaped(test.name), '--json', '--outputFile', results, '--silent', '--maxWorkers', '1', '--no-cache'];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: folder, stdio: 'ignore' });
    child.on('error', reject);
    child.on('close', () => resolve(answerIn(results, test.name)));
  });
}

function answerIn(results: string, name: string): Answer {
  let suites: { assertionResults: { title: string; status: string }[] }[];
  try {
    suites = JSON.parse(readFileSync(results, 'utf8')).testResults;
  } catch {
    return 'not-run';
  }
  // A file that does not even load has no results: the change broke the code and not a promise.
  const states = suites.flatMap((suite) => suite.assertionResults.filter(({ title }) => title === name).map(({ status }) => status));
  if (states.includes('failed')) return 'failed';
  return states.includes('passed') ? 'passed' : 'not-run';
}

async function tryOne(folder: string, mutation: Mutation): Promise<Seen> {
  const path = join(folder, mutation.file);
  const text = readFileSync(path, 'utf8');
  const whole = await runTest(folder, mutation);
  if (text.split(mutation.from).length !== 2) throw new Error(`${mutation.file} does not hold this text exactly once: ${mutation.from}`);
  writeFileSync(
    path,
    text.replace(mutation.from, () => mutation.to),
  );
  const broken = await runTest(folder, mutation);
  writeFileSync(path, text);
  return { breaks: mutation.breaks, test: mutation.test.name, whole, broken, found: whole === 'passed' && broken === 'failed' };
}

const program = new Command('npm run mutations --')
  .description('Breaks each thing that the promise stands on and checks that its named test fails. Takes a few minutes; the tree is not touched.')
  .option('--only <words>', 'only those whose description holds these words')
  .option('--json', 'the result as one JSON line on standard output')
  .parse();
const { only = '', json = false } = program.opts<{ only?: string; json?: boolean }>();

const mutations = [...ofThePromise, ...coexistenceMutations, ...portalMutations, ...deployMutations, ...adminMutations];
const chosen = mutations.filter(({ breaks }) => breaks.includes(only));
if (chosen.length === 0) program.error(`no mutation is described by “${only}”; there are:\n${mutations.map(({ breaks }) => `  ${breaks}`).join('\n')}`);
const folder = copyTree();
const seen: Seen[] = [];
try {
  for (const mutation of chosen) {
    const one = await tryOne(folder, mutation);
    seen.push(one);
    process.stderr.write(`${seen.length}/${chosen.length} ${one.found ? 'found' : `NOT FOUND (whole: ${one.whole}, broken: ${one.broken})`}: ${one.breaks}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const missed = seen.filter(({ found }) => !found);
if (json) process.stdout.write(`${JSON.stringify({ mutations: seen.length, found: seen.length - missed.length, missed: missed.length, seen })}\n`);
else process.stdout.write(`${seen.length} broken, ${seen.length - missed.length} found by the named test\n`);
process.exitCode = missed.length === 0 ? 0 : 1;
