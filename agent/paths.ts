/** Where things lie on the Mac; every one of them is resolved under `--root`. */
const state = '/var/db/io.sparekey.agent';

export const label = 'io.sparekey.agent';

export const paths = {
  state,
  /** What the package is made of: {"version": …, "signed": true}. */
  build: '/Library/Sparekey/lib/build.json',
  journal: `${state}/journal.json`,
  lock: `${state}/lock`,
  queue: `${state}/queue`,
  taken: `${state}/taken`,
  failed: `${state}/failed`,
  results: `${state}/results`,
  /** fdesetup's output of a rotation lies here for seconds: `<rotation>.out`, `<rotation>.err`. */
  outputs: `${state}/out`,
  /** Wrong passwords, the last dialog, and why nobody has this Mac's key: beside the journal, so that its loss asks nobody twice. */
  adoption: `${state}/adoption.json`,
  /** When the backend may be asked again, as it said. */
  coming: `${state}/coming.json`,
  lastGoodSettings: `${state}/settings.json`,
  public: '/var/db/io.sparekey.agent.public',
  status: '/var/db/io.sparekey.agent.public/status.json',
  /** macOS empties /var/run at each boot, so this note never outlives its boot session. */
  quiet: '/var/run/io.sparekey.agent.quiet',
  /** What this machine is, asked once per boot session. */
  boot: '/var/run/io.sparekey.agent.boot',
  /** The agent's own code as V8 compiled it, for the next run of this boot session. */
  compiled: '/var/run/io.sparekey.agent.compiled',
  escrowFile: '/var/db/FileVaultPRK.dat',
  settings: '/Library/Managed Preferences/io.sparekey.agent.plist',
  job: '/Library/LaunchDaemons/io.sparekey.agent.plist',
  log: '/Library/Logs/Sparekey/agent.log',
} as const;

export const outputFile = (rotationId: string): string => `${paths.outputs}/${rotationId}.out`;
/** Where the job waits for a password, for one request and one connection. */
export const passwordDoor = (requestId: string): string => `${state}/${requestId}.password`;
export const errorFile = (rotationId: string): string => `${paths.outputs}/${rotationId}.err`;
