import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { payloadFacts, scepKeys } from '../profiles/apple-schema.ts';
import { runProfiles } from '../profiles/command-line.ts';
import { lint, lintRules } from '../profiles/lint.ts';
import type { LintContext } from '../profiles/lint-parts.ts';
import type { ProfileFile } from '../profiles/read-profile.ts';
import { type Dictionary, isOlder } from '../profiles/schema-check.ts';
import { cleanSet, context, now, short, types } from './lint-parts.ts';
import { type Desk, desk, payloadOf } from './profile-sets.ts';

const { escrow, fileVault, options, pkcs1, scep, acme, items, privacy } = types;
let it: Desk;
const clean = (): ProfileFile[] => cleanSet(it);

beforeAll(() => {
  it = desk();
});
afterAll(() => it.remove());

describe('L12: who installs the profiles', () => {
  const found = (mdm: LintContext['mdm']): string[] => lint(clean(), context({ mdm })).map(({ rule, file, is }) => `${rule} ${is} ${file}`);

  test('nobody has said who: what needs an MDM is named', () => {
    expect(found(null)).toEqual(['L12 note login-items.mobileconfig', 'L12 note escrow.mobileconfig', 'L12 note only-if-needed/privacy.mobileconfig']);
  });
  test('an MDM: nothing is said', () => {
    expect(found('jamf')).toEqual([]);
  });
});

describe('any profile of anybody', () => {
  /** A frame value of undefined leaves that key out. */
  const foreign = (content: Dictionary, frame: Dictionary = {}): ProfileFile => {
    const profile: Dictionary = {
      PayloadType: 'Configuration',
      PayloadVersion: 1,
      PayloadIdentifier: 'com.example.theirs',
      PayloadUUID: 'A',
      PayloadScope: 'System',
      PayloadContent: [{ PayloadVersion: 1, PayloadIdentifier: 'com.example.theirs.one', PayloadUUID: 'B', ...content }],
      ...frame,
    };
    return { file: 'theirs.mobileconfig', profile: Object.fromEntries(Object.entries(profile).filter(([, value]) => value !== undefined)) };
  };

  test.each<[string, Dictionary, Dictionary, string[]]>([
    ['a payload of a type that is not in the table is not judged', { PayloadType: 'com.apple.dock', anything: 1 }, {}, []],
    ['the name of a property that every object has is no type', { PayloadType: 'constructor', toString: 'x' }, {}, []],
    ['what a console adds is no mistake', { PayloadType: 'com.apple.dock', PayloadEnabled: true }, { PayloadEnabled: true }, []],
    ['1 for true is a note', { PayloadType: options, dontAllowFDEDisable: 1 }, {}, ['L14 note: com.apple.MCX dontAllowFDEDisable']],
    ['any other number is none', { PayloadType: options, dontAllowFDEDisable: 2 }, {}, ['L14 mistake: com.apple.MCX dontAllowFDEDisable']],
    [
      'settings of the agent by way of com.apple.ManagedClient.preferences are read as well',
      {
        PayloadType: 'com.apple.ManagedClient.preferences',
        PayloadContent: { 'io.sparekey.agent': { Forced: [{ mcx_preference_settings: { checkInMinutes: 1 } }] } },
      },
      {},
      ['S1 mistake: io.sparekey.agent serverUrl', 'S1 mistake: io.sparekey.agent escrowCertificate', 'S1 mistake: io.sparekey.agent checkInMinutes'],
    ],
    [
      'settings of others by that way, and none at all, are theirs',
      {
        PayloadType: 'com.apple.ManagedClient.preferences',
        PayloadContent: {
          'com.example.other': { Forced: [{ mcx_preference_settings: { a: 1 } }] },
          'io.sparekey.agent': { 'Set-Once': [{ mcx_preference_settings: {} }] },
        },
      },
      {},
      [],
    ],
    [
      'settings of the agent without the settings',
      { PayloadType: 'com.apple.ManagedClient.preferences', PayloadContent: { 'io.sparekey.agent': { Forced: [{}] } } },
      {},
      ['L14 mistake: com.apple.ManagedClient.preferences PayloadContent.io.sparekey.agent.Forced[0].mcx_preference_settings'],
    ],
    [
      'what looks like settings of the agent in a payload of another type',
      { PayloadType: 'com.apple.dock', PayloadContent: { 'io.sparekey.agent': { Forced: [{ mcx_preference_settings: { checkInMinutes: 1 } }] } } },
      {},
      [],
    ],
    [
      'a key that means nothing on a Mac',
      { PayloadType: 'com.apple.notificationsettings', NotificationSettings: [{ BundleIdentifier: 'a', ShowInCarPlay: true, AlertType: 3 }] },
      {},
      [
        'L14 mistake: com.apple.notificationsettings NotificationSettings[0].AlertType',
        'L15 note: com.apple.notificationsettings NotificationSettings[0].ShowInCarPlay',
      ],
    ],
    ['an empty dictionary for a profile', {}, { PayloadContent: undefined, PayloadScope: undefined }, ['L14 mistake: PayloadContent']],
    [
      'one that is encrypted shows its frame only',
      {},
      { PayloadContent: undefined, IsEncrypted: true, EncryptedPayloadContent: Buffer.from('x') },
      ['F1 note:'],
    ],
  ])('%s', (_, content, frame, expected) => {
    expect(lint([foreign(content, frame)], context({ mdm: null })).map(({ rule, is, where }) => `${rule} ${is}: ${where ?? ''}`.trimEnd())).toEqual(expected);
  });

  test('UUIDs are compared without regard to case, as macOS and the agent do', () => {
    const files = clean();
    const payload = payloadOf(files, escrow) ?? {};
    payload['EncryptCertPayloadUUID'] = String(payload['EncryptCertPayloadUUID']).toLowerCase();
    expect(lint(files, context()).map(short)).toEqual([]);
  });

  test('two folders are two Macs: what is one too many in one folder is right in two', () => {
    const files = clean();
    const elsewhere = clean().map((each) => ({ ...each, file: join('other', each.file) }));
    expect(lint([...files, ...elsewhere], context()).map(short)).toEqual([]);
    expect(lint([...files, ...clean().map((each) => ({ ...each, file: `copy-${each.file}` }))], context()).map(({ rule }) => rule)).toEqual(
      expect.arrayContaining(['L1', 'L11']),
    );
  });

  test.each([
    ['13', '13.0.1', true],
    ['13', '13.0', false],
    ['10.15', '10.9', false],
    ['10.13.3', '10.13.4', true],
    ['26', '14.0', false],
  ])('macOS %s is older than %s: %s', (one, other, older) => {
    expect(isOlder(one, other)).toBe(older);
  });

  test('the table has every payload of Apple’s that concerns keys, identities and the job', () => {
    expect(Object.keys(payloadFacts)).toEqual(
      expect.arrayContaining([
        escrow,
        fileVault,
        options,
        pkcs1,
        'com.apple.security.pem',
        'com.apple.security.root',
        'com.apple.security.pkcs12',
        scep,
        acme,
        items,
        privacy,
      ]),
    );
    expect(Object.keys(scepKeys)).toContain('Key Usage');
  });
});

describe('profiles lint', () => {
  test('prints each finding with its rule and its fix, counts them, and ends with 78 for a mistake', async () => {
    const out = it.at('out');
    await runProfiles(['build', '--settings', it.settings({ teamIdentifier: 'ABCDE12345' }), '--out', out, '--mdm', 'jamf'], now);
    const path = join(out, 'escrow.mobileconfig');
    const text = readFileSync(path, 'utf8');
    expect(await runProfiles(['lint', '--mdm', 'jamf', out], now)).toEqual({ exit: 0, stderr: '', stdout: '4 files looked at: 0 mistakes, 0 notes.\n' });
    writeFileSync(path, text.replace('<string>On</string>', '<true/>'));
    const found = await runProfiles(['lint', '--mdm', 'jamf', out], now);
    expect(found.exit).toBe(78);
    expect(found.stdout).toBe(
      `mistake: ${path}: com.apple.MCX.FileVault2 Enable must be the string On or Off, not true or false (L5)\n  fix: write <string>On</string>\n4 files looked at: 1 mistake, 0 notes.\n`,
    );
    expect(JSON.parse((await runProfiles(['lint', '--json', '--mdm', 'jamf', out], now)).stdout)).toMatchObject({
      files: expect.any(Array),
      signed: [],
      findings: [{ rule: 'L5' }],
    });
  });

  test('--rules shows every rule', async () => {
    const { stdout } = await runProfiles(['lint', '--rules'], now);
    for (const rule of [...Object.keys(lintRules), 'F1']) expect(stdout).toMatch(new RegExp(`^${rule} `, 'm'));
    expect(JSON.parse((await runProfiles(['lint', '--rules', '--json'], now)).stdout)).toHaveLength(Object.keys(lintRules).length);
  });
});
