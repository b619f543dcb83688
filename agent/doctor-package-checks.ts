import { type Check, cannotTell, failing, ok, on, warning } from './doctor-judging.ts';
import { paths } from './paths.ts';

/** What was installed, and whether this Mac is one for it. */

/** The package is for this version and later. */
const oldestMacos = [13, 5] as const;
/** The newest whose answers are written down in transcripts, manual pages or schemas. A newer one is tried, and is news. */
const newestMacos = 26;
const oldestNode = 26;

const numbers = (version: string): number[] => version.split('.').map(Number);
/** Node's name of a processor, and the package's. */
const packageName: Record<string, string> = { arm64: 'arm64', x64: 'x86_64' };
const mode = (bits: number): string => bits.toString(8).padStart(4, '0');

export const packageChecks: readonly Check[] = [
  {
    name: 'macos-supported',
    looksAt: 'whether this version of macOS is one that the agent was made for',
    fix: 'an MDM admin updates macOS',
    judge: (it) =>
      on(it.macos, (version) => {
        const [major = Number.NaN, minor = 0] = numbers(version);
        if (!Number.isInteger(major)) return cannotTell(`macOS calls itself ${version}`);
        if (major < oldestMacos[0] || (major === oldestMacos[0] && minor < oldestMacos[1]))
          return failing(`macOS ${version} is older than ${oldestMacos.join('.')}`);
        return major > newestMacos
          ? warning(
              `macOS ${version} is newer than any that is known: whatever is not understood stops the act and is reported`,
              'an operator looks at the Macs of the first ring on this version before the others get it, and installs a newer agent where there is one',
            )
          : ok(`macOS ${version}`);
      }),
  },
  {
    name: 'runtime-signed',
    looksAt: 'whether the package was signed for production',
    fix: 'an admin builds the package with a signing identity: without one it is for a lab only, and this Mac keeps no key',
    judge: (it) =>
      on(it.build, (build) =>
        build?.signed
          ? ok(build.team ? `signed by team ${build.team}` : 'signed')
          : warning(build === null ? 'not installed from a package: for a lab only' : 'not signed: for a lab only'),
      ),
  },
  {
    name: 'runtime-version',
    looksAt: 'the version of Node that this runs on, and of the agent',
    fix: 'an admin installs the package again: it brings its own runtime',
    judge: (it) => {
      const runs = `Node ${it.runtimeVersion}, sparekey ${it.version}`;
      if (!(Number(/^v(\d+)\./.exec(it.runtimeVersion)?.[1] ?? 0) >= oldestNode)) return failing(`Node ${it.runtimeVersion} is older than ${oldestNode}`);
      const build = typeof it.build === 'object' && 'value' in it.build ? it.build.value : null;
      return build?.version && build.version !== it.version ? warning(`${runs}, and the package is of ${build.version}`) : ok(runs);
    },
  },
  {
    name: 'architecture',
    looksAt: 'whether the package is for the processor of this Mac',
    fix: 'an admin installs the package that was made with `--arch universal`, or for this processor',
    judge: (it) =>
      on(it.machinery, ({ runtime, apple }) => {
        const build = typeof it.build === 'object' && 'value' in it.build ? it.build.value : null;
        const named = packageName[runtime] ?? runtime;
        if (apple === true && runtime === 'x64') return warning('it runs under Rosetta on an Apple processor, and Rosetta will not always be there');
        if (build && build.architectures.length > 0 && !build.architectures.includes(named))
          return failing(`it runs on ${named}, and the package says that it is for ${build.architectures.join(' and ')}`);
        return ok(named);
      }),
  },
  {
    name: 'installed-files',
    looksAt: 'owner and modes of what root runs',
    fix: 'an admin installs the package again, and finds out who changed them: whoever can write there can become root',
    judge: (it) =>
      on(it.installed, (files) => {
        const wrong = files.filter(({ mode: bits, uid }) => uid !== it.owner || (bits & 0o022) !== 0);
        if (wrong.length > 0) return failing(wrong.map((one) => `${one.path} belongs to uid ${one.uid} and has mode ${mode(one.mode)}`).join('; '));
        return files.some(({ path }) => path === paths.job) ? ok('root alone can write them') : cannotTell('the package is not installed');
      }),
  },
];
