import { expect, test } from '@jest/globals';
import { inLines } from '../scripts/portal-stage.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';

/* What somebody sees who tries it out. */

test('what is read is in lines of at most 100 columns, and loses no word; what is one word stays one', () => {
  const text = `1. ${'Ada’s Mac enrolled, and nobody has seen the key. '.repeat(6)}https://127.0.0.1/${'x'.repeat(120)} end`;
  const lines = inLines(text, 3).split('\n');
  expect(lines.length).toBeGreaterThan(3);
  expect(lines.filter((line) => line.length > 100 && !line.includes('https'))).toEqual([]);
  expect(lines.slice(1).every((line) => /^ {3}\S/.test(line))).toBe(true);
  expect(lines.map((line) => line.trim()).join(' ')).toBe(text);
});

test('a Mac is called after its first user, as Setup Assistant names it', () => {
  const mac = FakeMac.create({ user: 'finn' });
  try {
    expect(mac.state.computerName).toBe('Finn’s MacBook Pro');
  } finally {
    mac.dispose();
  }
});
