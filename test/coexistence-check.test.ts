import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { checkCoexistence } from '../server/coexistence-check.ts';
import { coexistenceSettings } from '../server/coexistence-settings.ts';
import { scratch } from './scratch.ts';

/* What the settings for other systems must be. */

describe('settings', () => {
  const folder = scratch('coexistence');
  const file = (name: string, content: string, mode = 0o600): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  };
  const long = file('long', `${'k'.repeat(32)}\n`);
  const short = file('short', 'key');
  const open = file('open', 'k'.repeat(32), 0o644);
  const empty = file('empty', '\n');
  mkdirSync(join(folder, 'folder'));
  const listen = { port: 9443 };
  const nanomdm = { url: 'https://mdm.example.org', apiKeyFile: long };
  const wrong = (
    given: object,
    settings: Parameters<typeof checkCoexistence>[1] = { listen: { host: null, port: 8443 }, people: null },
    leftOut: string[] = [],
  ) => {
    try {
      checkCoexistence(coexistenceSettings.parse(given), settings, leftOut);
      return [];
    } catch (error) {
      return (error as { detail: string }).detail.split('; ');
    }
  };

  test('that hold together are taken', () => {
    expect(wrong({})).toEqual([]);
    expect(wrong({ listen, webhook: { hmacKeyFile: long }, nanomdm })).toEqual([]);
    expect(wrong({ listen, crypt: { identity: 'header', header: { name: 'X-Key', valueFile: long } } })).toEqual([]);
  });

  test.each([
    ['a key that is short', { listen, webhook: { hmacKeyFile: short } }, /^coexistence\.webhook\.hmacKeyFile: what .* shorter than 24 characters$/],
    ['a key that others can read', { listen, webhook: { hmacKeyFile: open } }, /others can read .* \(chmod 600\)/],
    ['a key that is not there', { listen, webhook: { hmacKeyFile: join(folder, 'none') } }, /cannot be read \(ENOENT\)/],
    ['a key that is a folder', { listen, webhook: { hmacKeyFile: join(folder, 'folder') } }, /is no file/],
    ['no API key', { listen, webhook: { hmacKeyFile: long }, nanomdm: { ...nanomdm, apiKeyFile: empty } }, /apiKeyFile: .* is empty/],
    [
      'a CA that is none',
      { listen, webhook: { hmacKeyFile: long }, nanomdm: { ...nanomdm, trustedCertificatesFile: long } },
      /is no PEM file with certificates/,
    ],
    ['a webhook that nobody can reach', { webhook: { hmacKeyFile: long } }, /needs coexistence\.listen/],
    ['an API without a webhook', { nanomdm }, /its answers come by it/],
    ['NanoMDM with the webhook of MicroMDM', { listen, webhook: { server: 'micromdm', hmacKeyFile: long }, nanomdm }, /do not go together/],
    ['the port of the Macs', { listen: { port: 8443 } }, /is the port of the listener for Macs/],
    ['clients that nobody knows, without a yes', { listen, crypt: { identity: 'none' } }, /acceptAnybody: must be true/],
    ['a header that is missing', { listen, crypt: { identity: 'header' } }, /crypt\.header: is needed/],
    [
      'a secret of a connector that others can read',
      { connectors: { fleet: { url: 'https://fleet.example.org', tokenFile: open } } },
      /connectors\.fleet\.tokenFile: others can read/,
    ],
  ])('with %s are refused, by name and without the value', (_, given, words) => {
    const found = wrong(given);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(words);
    expect(found[0]).not.toContain('kkkk');
  });

  test('all mistakes are said at once, and nothing twice', () => {
    expect(wrong({ webhook: { hmacKeyFile: short }, nanomdm: { ...nanomdm, apiKeyFile: open }, crypt: { identity: 'header' } })).toHaveLength(5);
    expect(wrong({ listen, webhook: { hmacKeyFile: short } }, undefined, ['coexistence.webhook.hmacKeyFile'])).toEqual([]);
    expect(wrong({ listen: { port: 444 } }, { listen: { host: null, port: 8443 }, people: { listen: { host: null, port: 444 } } as never })).toEqual([
      'coexistence.listen.port: is the port of the listener for people',
    ]);
  });
});
