import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'plist';
import { label, paths } from '../agent/paths.ts';
import { macScript } from '../scripts/package/scripts.ts';
import { readWith, testWith } from './other-readers.ts';

const file = join(import.meta.dirname, '../launchd/io.sparekey.agent.plist');
const text = readFileSync(file, 'utf8');
const job = parse(text) as Record<string, unknown>;

/** launchd.plist(5): the keys that a daemon of ours may have, and their types. launchd passes over a key that it does not know, or whose value is of another type, and says nothing. */
const known: Record<string, (value: unknown) => boolean> = {
  Label: (value) => typeof value === 'string',
  ProgramArguments: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  RunAtLoad: (value) => typeof value === 'boolean',
  StartInterval: Number.isInteger,
  WatchPaths: Array.isArray,
  QueueDirectories: Array.isArray,
  ProcessType: (value) => ['Background', 'Standard', 'Adaptive', 'Interactive'].includes(String(value)),
  LowPriorityIO: (value) => typeof value === 'boolean',
  LowPriorityBackgroundIO: (value) => typeof value === 'boolean',
  ThrottleInterval: Number.isInteger,
  ExitTimeOut: Number.isInteger,
  AbandonProcessGroup: (value) => typeof value === 'boolean',
  SoftResourceLimits: (value) => typeof value === 'object',
  HardResourceLimits: (value) => typeof value === 'object',
  // Decimal, or a string with a leading 0.
  Umask: Number.isInteger,
};

describe('the job as launchd reads it', () => {
  test('is called by its label, in its file’s name, in the agent, and to whoever it starts', () => {
    expect([job['Label'], basename(file)]).toEqual([label, `${label}.plist`]);
    // XPC_SERVICE_NAME is the label, and by it and this argument alone the agent knows that it is the job.
    expect((job['ProgramArguments'] as string[]).at(-1)).toBe('check-in');
    expect((job['ProgramArguments'] as string[])[0]).toBe('/Library/Sparekey/bin/node');
  });

  test('has keys that launchd knows, each of the type it wants', () => {
    expect(Object.keys(job).filter((key) => !known[key]?.(job[key]))).toEqual([]);
  });

  test('says of each key why it is there', () => {
    const lines = text.split('\n').map((line) => line.trim());
    // A second limit of one kind has the reason of the first.
    const bare = [...lines.entries()].filter(
      ([at, line]) => /^<key>[A-Z]/.test(line) && !/^<key>(Core|HardResourceLimits)</.test(line) && !lines[at - 1]?.endsWith('-->'),
    );
    expect(bare.map(([, line]) => line)).toEqual([]);
  });

  test('is never kept alive, has limits for each storm that launchd can make, and waits for nobody', () => {
    expect(job).not.toHaveProperty('KeepAlive');
    expect(job).toMatchObject({
      ProcessType: 'Background',
      LowPriorityIO: true,
      LowPriorityBackgroundIO: true,
      ThrottleInterval: 30,
      ExitTimeOut: 60,
      AbandonProcessGroup: true,
      RunAtLoad: true,
      StartInterval: 900,
    });
  });

  test('watches macOS’s escrow file and nothing else; a folder of requests is there before launchd looks', () => {
    expect(job['WatchPaths']).toEqual([paths.escrowFile]);
    expect(job['QueueDirectories']).toEqual([paths.queue]);
    const postinstall = macScript('postinstall', { architectures: ['arm64'], minimumMacos: '13.5', journalVersion: 1 });
    expect(postinstall.indexOf('/queue"')).toBeGreaterThan(0);
    expect(postinstall.indexOf('/queue"')).toBeLessThan(postinstall.lastIndexOf('\nload ||'));
  });

  test('waits for a run as long as launchd does, and longer: ExitTimeOut is within what the scripts of the package wait', () => {
    const left = Number(
      /left=(\d+)\n\twhile is_loaded/.exec(macScript('postinstall', { architectures: ['arm64'], minimumMacos: '13.5', journalVersion: 1 }))?.[1],
    );
    expect(left).toBeGreaterThan(Number(job['ExitTimeOut']));
  });

  testWith(['xmllint'], 'is well formed, also for a reader that is not ours', () => {
    expect(readWith('xmllint', ['--noout', '--nonet', file])).toBe('');
  });
});
