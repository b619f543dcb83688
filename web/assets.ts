import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { Problem } from '../protocol/problems.ts';

interface Asset {
  type: string;
  plain: Buffer;
  gzip: Buffer;
  brotli: Buffer;
}

/** All styles and scripts under one digest: an address never has another content, so browsers keep it for ever. */
interface Assets {
  /** The address of one, by its name such as `site.css`. */
  pathOf(name: string): string;
  find(digest: string, name: string): Asset | undefined;
}

/** Node says once per process that its own stripper is experimental. That is for us to know, not for the operator's terminal. */
function stripTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Comments are for readers of the source, and the blanks that stripped types leave behind for nobody. */
const scriptOf = (source: string): string =>
  stripTypes(source)
    .replace(/^\s*(\/\/.*|\/\*[\s\S]*?\*\/)\s*$/gm, '')
    .replace(/(\bfrom\s+'\.\/[a-z0-9-]+)\.ts'/g, "$1.js'")
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .trimStart();

const styleOf = (source: string): string =>
  source
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\s+/g, ' ')
    .replace(/ ?([{};,]) ?/g, '$1')
    .replace(/: /g, ':')
    .replace(/;}/g, '}')
    .trim();

const types: Record<string, string> = { '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml' };

function filesIn(folder: string, ending: string): [name: string, text: string][] {
  const url = new URL(`./${folder}/`, import.meta.url);
  return readdirSync(url)
    .filter((name) => name.endsWith(ending))
    .toSorted()
    .map((name) => [name, readFileSync(new URL(name, url), 'utf8')]);
}

/** Reads, strips and compresses them once. `brand`: the organisation's own custom properties. */
export function readAssets(brand: string): Assets {
  const texts: [name: string, text: string][] = [
    ...filesIn('assets', '.css').map(([name, text]): [string, string] => [name, `${styleOf(text)}\n${name === 'site.css' ? styleOf(brand) : ''}`]),
    ...filesIn('assets', '.svg'),
    ...filesIn('browser', '.ts').map(([name, text]): [string, string] => [name.replace(/\.ts$/, '.js'), scriptOf(text)]),
  ];
  const digest = createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16);
  const assets = new Map(
    texts.map(([name, text]) => {
      const plain = Buffer.from(text);
      const type = types[name.slice(name.lastIndexOf('.'))] ?? 'application/octet-stream';
      const brotli = brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
      return [name, { type, plain, gzip: gzipSync(plain, { level: 9 }), brotli }];
    }),
  );
  return {
    pathOf(name) {
      if (!assets.has(name)) throw new Problem('SERVER_BUG', `no asset ${name}`);
      return `/assets/${digest}/${name}`;
    },
    find: (asked, name) => (asked === digest ? assets.get(name) : undefined),
  };
}

const immutable = {
  // The address has the digest of the content.
  'cache-control': 'public, max-age=31536000, immutable',
  'cross-origin-resource-policy': 'same-origin',
  vary: 'Accept-Encoding',
} as const;

function encoded(asset: Asset, accepted: string): { body: Buffer; encoding: string | null } {
  if (/\bbr\b/.test(accepted)) return { body: asset.brotli, encoding: 'br' };
  if (/\bgzip\b/.test(accepted)) return { body: asset.gzip, encoding: 'gzip' };
  return { body: asset.plain, encoding: null };
}

/** Styles and scripts. They hold nothing of anybody, so they may be compressed; a page is not, since its size would tell. */
export function addAssets(app: FastifyInstance, assets: Assets): void {
  app.get('/assets/:digest/:name', async (request, reply) => {
    const { digest = '', name = '' } = request.params as Record<string, string>;
    const asset = assets.find(digest, name);
    if (!asset) throw new Problem('NOT_FOUND');
    const { body, encoding } = encoded(asset, String(request.headers['accept-encoding'] ?? ''));
    reply.headers(immutable).type(asset.type);
    if (encoding !== null) reply.header('content-encoding', encoding);
    return reply.send(body);
  });
}
