// A launchd job's property list, as far as the fake launchd obeys it.
import { parse } from 'plist';
import { readBinaryPlist } from './property-list.ts';

export interface JobPlist {
  label: string;
  programArguments: string[];
  startInterval: number | null;
  runAtLoad: boolean;
  /** False: what is left of the job's process group is killed when the job is dead. */
  abandonProcessGroup: boolean;
  queueDirectories: string[];
  standardOutPath: string | null;
  standardErrorPath: string | null;
  umask: number | null;
  environment: Record<string, string>;
}

/** Null where the bytes are no job: launchd answers `Input/output error` to that. */
export const readJob = (bytes: Uint8Array): JobPlist | null => {
  let dictionary: Record<string, unknown>;
  try {
    const binary = Buffer.from(bytes.subarray(0, 6)).toString() === 'bplist';
    const found: unknown = binary ? readBinaryPlist(Buffer.from(bytes)) : parse(Buffer.from(bytes).toString('utf8'));
    if (typeof found !== 'object' || found === null) return null;
    dictionary = found as Record<string, unknown>;
  } catch {
    return null;
  }
  const text = (key: string): string | null => (typeof dictionary[key] === 'string' ? dictionary[key] : null);
  const number = (key: string): number | null => (typeof dictionary[key] === 'number' ? dictionary[key] : null);
  const texts = (key: string): string[] => (Array.isArray(dictionary[key]) ? dictionary[key].map(String) : []);
  const label = text('Label');
  const programArguments = texts('ProgramArguments');
  if (label === null || !programArguments.length) return null;
  return {
    label,
    programArguments,
    startInterval: number('StartInterval'),
    runAtLoad: dictionary['RunAtLoad'] === true,
    abandonProcessGroup: dictionary['AbandonProcessGroup'] === true,
    queueDirectories: texts('QueueDirectories'),
    standardOutPath: text('StandardOutPath'),
    standardErrorPath: text('StandardErrorPath'),
    umask: number('Umask'),
    environment: Object.fromEntries(Object.entries(dictionary['EnvironmentVariables'] ?? {}).map(([key, value]) => [key, String(value)])),
  };
};
