import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readPropertyList } from '../server/mdm/property-list.ts';
import { encode } from './mdm-parts.ts';

/* The property lists that Macs and MDMs send, read without a library: what Apple writes, and nothing else. */

test('bytes that somebody bent are a property list or none, and nothing else happens', () => {
  const whole = Buffer.from(encode({ CommandUUID: 'A', SecurityInfo: { FDE_Enabled: true, FDE_PersonalRecoveryKeyCMS: Buffer.from('envelope') } }), 'base64');
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(40), (at, byte, cut) => {
      const bent = Buffer.from(whole);
      bent[at] = byte;
      const value = readPropertyList(bent.subarray(0, bent.length - (cut > 20 ? cut - 20 : 0)));
      expect(value === null || value instanceof Map).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test('a property list is read as Apple writes it: entities, empty elements, comments, dates, numbers', () => {
  const list = readPropertyList(
    Buffer.from(
      '\n<?xml version="1.0" encoding="UTF-8"?><!-- a comment -->\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0"><dict><key>a &amp; b</key><string>&lt;&#x41;&#66;&gt;</string><key>c</key><array><true/><false></false><integer>-7</integer><real>1.5</real><string/><dict/></array><key>d</key><date>2026-11-22T10:00:00Z</date><key>e</key><data>\n\taGk=\n</data></dict></plist>\n',
    ),
  );
  expect(list).toEqual(
    new Map<string, unknown>([
      ['a & b', '<AB>'],
      ['c', [true, false, -7, 1.5, '', new Map()]],
      ['d', new Date('2026-11-22T10:00:00Z')],
      ['e', Buffer.from('hi')],
    ]),
  );
  for (const wrong of [
    '',
    '<plist/>',
    '<plist></plist>',
    '<dict/>',
    '<plist><dict/></plist>x',
    '<plist><dict/><dict/></plist>',
    '<plist><dict><string/></dict></plist>',
    '<plist><dict><key>a</key></dict></plist>',
    '<plist><string>a<true/></string></plist>',
    '<plist><string>&#0;</string></plist>',
    '<plist><string>&#55296000;</string></plist>',
    '<plist><string>&amp</string></plist>',
    '<plist><integer>1e9999x</integer></plist>',
    '<plist><string>\u0007</string></plist>',
    'bplist00',
  ])
    expect([wrong, readPropertyList(Buffer.from(wrong))]).toEqual([wrong, null]);
});
