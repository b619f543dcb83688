import { importedOnlyIn, isPackage, onlyIn, type Rule, shipped } from './architecture-source.ts';

const sql = /\.(selectFrom|insertInto|updateTable|deleteFrom|replaceInto)\(|\bsql`|\.prepare\(/;
const sqlPlaces =
  /^server\/(store\/[^/]+|database(-postgres|-copy|-news|-alone|-connection|-changes|-fit|-migrating)?|(postgres|sqlite)-transaction|migrations\/[^/]+|clock|audit)\.ts$/;

/** What is kept for as long as the process lives. By a digest, a folder or a zone; two counts of what is under way; and pages of a browser. */
const kept = /^(export )?let |^(export )?const \w+ = (\/\* @__PURE__ \*\/ )?(new (Map|Set)\(\)|\[\]|\{\});$/m;
const keepers =
  /^(protocol\/envelope|server\/(accounts|certificate-chain|device-identity|policies\/quiet-hours|store\/serve-lock)|console\/local-time|web\/browser\/[^/]+)\.ts$/;

/** What may be done in a few named files only. */
export const places: readonly Rule[] = [
  onlyIn(
    'nothing is kept in a module but in a few, by what it is of',
    'two backends in one process, and two test files in one worker, must know nothing of each other (decision 26)',
    kept,
    keepers,
    { path: 'server/a.ts', text: 'let last: string | null = null;\nexport const a = (b: string) => (last ??= b);' },
  ),
  onlyIn(
    'reveal() only where a key has to be seen',
    'whoever can see a key in plain must be found by reading a few places',
    /\.reveal\b/,
    /^(agent\/mac\/fdesetup\.ts|agent\/secrets\.ts|protocol\/[^/]+\.ts|server\/show\.ts|server\/mdm\/nanomdm\.ts|portal\/(key|release)-page\.ts|console\/(key-page|operations\/key-reply)\.ts)$/,
    { path: 'agent/rotate.ts', text: 'export const a = (key) => key.reveal();' },
  ),
  onlyIn(
    'process.exit and process.argv only in main.ts',
    'only there is known what an exit would cut off',
    /\bprocess\.(exit|argv|exitCode|abort)\b/,
    /(^|\/)main\.ts$/,
    {
      path: 'server/http.ts',
      text: 'process.exit(1);',
    },
  ),
  onlyIn(
    'the environment only in settings.ts and main.ts',
    'a value from outside is checked once, where it comes in',
    /\bprocess\.env\b/,
    /(^|\/)(main|settings)\.ts$/,
    {
      path: 'agent/log.ts',
      text: 'export const level = process.env["LEVEL"];',
    },
  ),
  onlyIn('no code made from text', 'nothing that came in may ever run', /\beval\s*\(|\bnew Function\b|["']node:vm["']/, /^$/, {
    path: 'server/a.ts',
    text: 'eval("1");',
  }),
  importedOnlyIn(
    'node:child_process',
    'one place knows how a process is started: absolute path, no shell, no secret in its arguments',
    isPackage('node:child_process'),
    /^agent\/mac\/run\.ts$/,
    {
      path: 'agent/users.ts',
      text: "import { execFile } from 'node:child_process';\nexecFile('a');",
    },
  ),
  importedOnlyIn('keytar', 'only the job opens the keychain, and its addon loads only in the run that needs it', isPackage('keytar'), /^agent\/secrets\.ts$/, {
    path: 'agent/identity.ts',
    text: "const { getPassword } = await import('keytar');\ngetPassword;",
  }),
  importedOnlyIn(
    'axios',
    'time limits, trust and problem replies are decided in one place',
    isPackage('axios'),
    /^(agent\/server|server\/outbound|ctl\/asking)\.ts$/,
    {
      path: 'agent/check-in.ts',
      text: "import axios from 'axios';\naxios;",
    },
  ),
  importedOnlyIn('winston', 'what may be logged is a closed list', isPackage('winston'), /^(agent|server)\/log\.ts$/, {
    path: 'agent/rotate.ts',
    text: "import winston from 'winston';\nwinston;",
  }),
  importedOnlyIn(
    'commander',
    'a command line is read where its program begins',
    isPackage('commander'),
    /^(agent|server|ctl)\/(main|([a-z]+-)?command-line)\.ts$/,
    {
      path: 'agent/report.ts',
      text: "import { Command } from 'commander';\nnew Command();",
    },
  ),
  importedOnlyIn(
    'asn1js',
    'bytes from outside are read by one decoder, and each file that writes ASN.1 is known',
    isPackage('asn1js'),
    /^(protocol\/(asn1|envelope|csr)|server\/(certificates|signed-statement))\.ts$/,
    { path: 'agent/escrow-file.ts', text: "import * as asn1 from 'asn1js';\nasn1;" },
  ),
  importedOnlyIn('jose', 'a grant has one form, in one file', isPackage('jose'), /^protocol\/grant\.ts$/, {
    path: 'server/grants.ts',
    text: "import { CompactEncrypt } from 'jose';\nCompactEncrypt;",
  }),
  importedOnlyIn(
    'fastify',
    'routes and their limits are in the files that build the listeners',
    isPackage('fastify'),
    /^(server\/(http|device-api|main|device-[a-z-]+|([a-z]+\/)?[a-z-]+-routes)|web\/(site|forms|assets))\.ts$/,
    {
      path: 'server/custody.ts',
      text: "import fastify from 'fastify';\nfastify();",
    },
  ),
  importedOnlyIn('openid-client', 'what a provider says is checked in one place', isPackage('openid-client'), /^web\/providers\.ts$/, {
    path: 'web/sign-in.ts',
    text: "import * as oidc from 'openid-client';\noidc;",
  }),
  importedOnlyIn('@simplewebauthn/server', 'a passkey has one door', isPackage('@simplewebauthn/server'), /^web\/passkeys\.ts$/, {
    path: 'web/sign-in.ts',
    text: "import { verifyAuthenticationResponse } from '@simplewebauthn/server';\nverifyAuthenticationResponse;",
  }),
  importedOnlyIn('nodemailer', 'mail leaves by one door', isPackage('nodemailer'), /^web\/mail-sending\.ts$/, {
    path: 'portal/mails.ts',
    text: "import { createTransport } from 'nodemailer';\ncreateTransport;",
  }),
  importedOnlyIn('uqr', 'a code on a label is drawn in one way', isPackage('uqr'), /^server\/labels\.ts$/, {
    path: 'portal/labels.ts',
    text: "import { encode } from 'uqr';\nencode;",
  }),
  onlyIn('nothing writes to a console', 'what a program says goes through its report, its log or its main.ts', /\bconsole\.[a-z]+\(/, /^$/, {
    path: 'server/a.ts',
    text: 'console.log("x");',
  }),
  onlyIn(
    "the machine's clock only where time comes in",
    'every time that decides is the stored clock of the backend, or the uptime of the Mac; neither steps back',
    /\bDate\.now\(\)|\bnew Date\(\)/,
    /^(server\/(clock|init|tar|unfinished)|agent\/(main|command-line|job|quiet|log|doctor-server)|web\/browser\/[a-z-]+)\.ts$/,
    { path: 'server/holds.ts', text: 'export const late = (at) => Date.now() > at;' },
  ),
  onlyIn(
    'envelopes are opened in one place',
    'only custody opens an envelope; `init` tries the new pair once before it is used, and what a Mac seals for one MDM command has a key of its own',
    /\bopenEnvelope\b/,
    /^(protocol\/envelope|server\/(escrow-keys|init|mdm\/reply-key))\.ts$/,
    { path: 'server/device-api.ts', text: "import { openEnvelope } from '../protocol/envelope.ts';\nopenEnvelope();" },
  ),
  onlyIn('SQL only in the store', 'each statement is found by its question, and no route can reach the tables', sql, sqlPlaces, {
    path: 'server/device-api.ts',
    text: "export const macs = (db) => db.selectFrom('mac');",
  }),
  {
    name: 'the database library only in the store',
    because: 'each statement is found by its question, and no route can reach the tables',
    broken: (sources) =>
      sources
        .filter((source) => shipped(source) && !sqlPlaces.test(source.path) && source.imports.some(isPackage('kysely', 'node:sqlite', 'pg')))
        .map((source) => source.path),
    planted: [{ path: 'server/custody.ts', text: "import { sql } from 'kysely';\nsql;" }],
  },
  {
    name: "the Mac's files only through Disk",
    because: 'each effect on the disk is one that a kill can come before or after, and the tests kill at each',
    broken: (sources) =>
      sources
        // doctor's bundle goes where whoever asks for it wants it, which is no place of the agent's.
        .filter((source) => source.folder === 'agent' && !/^agent\/(disk|doctor-bundle|job|lock|log|main|quiet|mac\/run)\.ts$/.test(source.path))
        .filter((source) => source.imports.some(isPackage('node:fs', 'node:fs/promises')))
        .map((source) => source.path),
    planted: [{ path: 'agent/rotate.ts', text: "import { writeFileSync } from 'node:fs';\nwriteFileSync('a', 'b');" }],
  },
];
