import type { LeavingManifest } from './manifest.ts';

/** Who opens this in ten years has nothing but this folder, the passphrase and OpenSSL. */
export function openingWords(manifest: Pick<LeavingManifest, 'madeAt' | 'serverUrl' | 'certificates' | 'envelopes'>): string {
  const { certificates } = manifest;
  const withoutKey = certificates.filter(({ key }) => !key);
  const [example] = [...manifest.envelopes.filter(({ state }) => state === 'held'), ...manifest.envelopes].filter(({ file }) => file !== null);
  return `# How to open these recovery keys

FileVault recovery keys of ${manifest.serverUrl}, as they were on ${manifest.madeAt}. Each lies sealed in a file of its
own; nothing in this folder is in plain. **Whoever has this folder and the passphrase of the escrow key can open every key
in it**: keep the two apart, and destroy both when the last of these Macs is gone.

| File | Content |
|---|---|
| \`manifest.csv\`, \`manifest.json\` | which file belongs to which Mac, its state, its dates, and to which certificate it is sealed |
| \`envelopes/<SHA-256>.cms\` | one sealed key: CMS (RFC 5652, RFC 5083), DER |
| \`escrow/<SHA-256>.certificate.pem\` | a certificate that keys were sealed to |
| \`escrow/<SHA-256>.key.pem\` | its private key, encrypted with the passphrase (PKCS #8, scrypt, AES-256) |
| \`audit.jsonl\` | who did what, one entry a line; each holds the hash of the one before |

## One key

1. Find the Mac's serial number in \`manifest.csv\`. Where there are several lines, the key that opens the Mac is most
   likely the one whose state is \`held\`; then \`candidate\`, newest first. \`superseded\` ones open old backups and clones.
   A line without a file is a key that was destroyed when its time was over, or withdrawn.
2. In this folder, with **OpenSSL 3.0 or newer** (\`openssl version\`; macOS's own \`/usr/bin/openssl\` is LibreSSL and
   cannot do it), put in the line's \`file\` and \`recipient\`:

\`\`\`
openssl cms -decrypt -inform DER -in ${example?.file ?? 'envelopes/FILE.cms'} \\
  -inkey escrow/${example?.recipient ?? 'RECIPIENT'}.key.pem \\
  -recip escrow/${example?.recipient ?? 'RECIPIENT'}.certificate.pem
\`\`\`

It asks for the passphrase and prints the key: six groups of four letters and digits. **Only an exit status of 0 counts**
(\`echo $?\`): what OpenSSL has printed before it fails may look like a key. Envelopes that macOS itself made have no seal
against changes: of each, \`sha256sum\` has to say the name of the file.

## Is everything whole?

\`\`\`
sparekey-server leave --out . --check
\`\`\`

compares each file with the manifest and opens each envelope once, without the backend and without its database. Without
it: \`sha256sum envelopes/*.cms\` has to say the name of each file.
${withoutKey.length > 0 ? `\n## What is missing\n\nThe private key of these certificates was not in the data folder; it is in the offline copy that was made with them:\n\n${withoutKey.map((one) => `- ${one.digest}`).join('\n')}\n` : ''}`;
}
