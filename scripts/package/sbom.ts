import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { BuildFacts } from './payload.ts';
import type { Runtime } from './runtime.ts';

/* What the package is made of: the bill of materials that scanners read (CycloneDX 1.6), and the licences of all of it. */

const root = dirname(dirname(import.meta.dirname));

export interface Part {
  name: string;
  version: string;
  licence: string;
  /** As in the lock file; null: not from there. */
  integrity: string | null;
  licenceText: string;
}

interface Locked {
  name?: string;
  version: string;
  integrity: string;
  license?: string;
}

/** What the lock file and the packages themselves say of the folders in node_modules. */
export function readParts(folders: readonly string[]): Part[] {
  const locked = (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> }).packages;
  return folders.map((folder) => {
    const it = locked[folder];
    if (it === undefined) throw new Error(`${folder} is not in the lock file`);
    const name = it.name ?? folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    return { name, version: it.version, integrity: it.integrity, licence: it.license ?? 'NOASSERTION', licenceText: licenceOf(join(root, folder)) };
  });
}

/** Its file, or what its README says under that heading. */
function licenceOf(folder: string): string {
  const names = readdirSync(folder).sort();
  const file = names.find((name) => /^(licen[cs]e|copying)/i.test(name));
  if (file !== undefined) return readFileSync(join(folder, file), 'utf8');
  const readme = names.find((name) => /^readme/i.test(name));
  const said = readme === undefined ? null : /\n#*\s*licen[cs]e\s*\n[-=]*([\s\S]+?)(?=\n#+ |$)/i.exec(readFileSync(join(folder, readme), 'utf8'))?.[1];
  if (!said?.trim()) throw new Error(`${folder} has no licence`);
  return said;
}

const purl = (name: string, version: string): string => `pkg:npm/${name.replace('@', '%40')}@${version}`;
/** Once each: the same package may lie in two folders. */
const once = (parts: readonly Part[]): Part[] => [...new Map(parts.map((part) => [purl(part.name, part.version), part])).values()];

/** `mtime` in seconds since 1970. */
export function sbom(build: BuildFacts, runtimes: readonly Runtime[], parts: readonly Part[], mtime: number): string {
  const self = `sparekey@${build.version}`;
  const components = [
    ...runtimes.map(({ package: name, version, sha256 }) => ({
      type: 'platform',
      'bom-ref': purl(name, version),
      name: 'node',
      version,
      // Scanners look vulnerabilities up by this.
      cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
      purl: purl(name, version),
      // Before it was signed again.
      hashes: [{ alg: 'SHA-256', content: sha256 }],
      licenses: [{ license: { name: 'MIT and others, in LICENCES.txt' } }],
    })),
    ...once(parts).map(({ name, version, licence, integrity }) => ({
      type: 'library',
      'bom-ref': purl(name, version),
      name,
      version,
      purl: purl(name, version),
      ...(integrity === null ? {} : { hashes: [{ alg: 'SHA-512', content: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex') }] }),
      licenses: [{ license: { id: licence } }],
    })),
  ];
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify([build, components]))}`,
    version: 1,
    metadata: {
      timestamp: new Date(mtime * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': self,
        name: 'sparekey',
        version: build.version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
        properties: [
          { name: 'sparekey:architectures', value: build.architectures.join(',') },
          { name: 'sparekey:organisation', value: build.organisation },
          { name: 'sparekey:lab-only', value: String(!build.signed) },
        ],
      },
    },
    components,
    dependencies: [{ ref: self, dependsOn: components.map((one) => one['bom-ref']) }],
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}

/** The same of the same. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export function licences(runtimes: readonly Runtime[], parts: readonly Part[]): string {
  const rule = '='.repeat(100);
  const own = readFileSync(join(root, 'LICENSE'), 'utf8');
  const all = [
    ['Sparekey', own],
    ...(runtimes[0] ? [[`Node.js ${runtimes[0].version}`, runtimes[0].licence]] : []),
    ...once(parts).map(({ name, version, licenceText }) => [`${name} ${version}`, licenceText]),
  ];
  return all.map(([name, its]) => `${rule}\n${name}\n${rule}\n\n${its?.trim()}\n\n`).join('');
}
