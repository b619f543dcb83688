import { Problem } from '../protocol/problems.ts';
import type { CommandResult, GivenOptions } from './command.ts';
import { initialise } from './init.ts';
import { choosePassphrase } from './passphrase.ts';
import { refuseExisting } from './private-files.ts';

export interface InitFlags extends GivenOptions {
  name: string;
  organisation: string;
  devicesPort?: number;
  /** False: `--no-copy`. */
  copy?: string | false;
  deviceCa: string[];
  tlsCertificate?: string;
  tlsKey?: string;
  portal?: string;
  portalPort?: number;
  console?: string;
  /** The reference layout: the Macs’ listener and the portal on one port, under two names. */
  onePort?: boolean;
  admin: string;
}

const lost = 'there is no offline copy: when this folder or its passphrase is lost, no sealed recovery key can ever be opened again';

/** Without a port in the address people type 443, which only root may listen at: it is forwarded to 8444, that of admins to 8445. */
function siteAt(option: '--portal' | '--console', address: string, port: number | undefined): { url: string; port: number } {
  const url = URL.parse(/^https?:/i.test(address) ? address : `https://${address}`);
  if (url?.protocol !== 'https:' || url.pathname !== '/' || url.search + url.hash + url.username !== '')
    throw new Problem('USAGE', `${option} is an address such as https://${option === '--portal' ? 'key' : 'console'}.example.org, without a path`);
  return { url: url.origin, port: port ?? (url.port === '' ? (option === '--portal' ? 8444 : 8445) : Number(url.port)) };
}

/** `sparekey-server init`: what can be refused is refused before a passphrase is asked for. */
export async function init(flags: InitFlags): Promise<CommandResult> {
  const { copy, tlsCertificate, tlsKey } = flags;
  if (copy === undefined) throw new Problem('USAGE', 'say where the offline copy of the escrow key goes (--copy FILE), or that there is none (--no-copy)');
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) throw new Problem('USAGE', '--tls-certificate and --tls-key go together');
  refuseExisting(flags.dir);
  const names = flags.name.split(',').map((name) => name.trim().toLowerCase());
  const wrong = names.find((name) => !/^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$/.test(name));
  if (wrong !== undefined) throw new Problem('USAGE', `--name: "${wrong.slice(0, 60)}" is no host name`);
  if (flags.onePort && (flags.portal === undefined || flags.portalPort !== undefined))
    throw new Problem('USAGE', '--one-port goes with --portal and without --portal-port: Macs and people come to the same port under two names');
  // Where nobody said another, the port that every network lets through.
  const devicesPort = flags.devicesPort ?? (flags.onePort ? 443 : 8443);
  const portal = flags.portal === undefined ? null : siteAt('--portal', flags.portal, flags.onePort ? devicesPort : flags.portalPort);
  const admins = flags.console === undefined ? null : siteAt('--console', flags.console, undefined);
  if (admins !== null && portal === null) throw new Problem('USAGE', '--console goes with --portal: admins sign in as people do');
  if (flags.onePort && portal !== null && names.includes(new URL(portal.url).hostname))
    throw new Problem('USAGE', '--one-port needs two names: the portal has another than --name');
  if (portal === null && flags.portalPort !== undefined) throw new Problem('USAGE', '--portal-port goes with --portal');
  const result = await initialise({
    dir: flags.dir,
    names,
    organisation: flags.organisation,
    devicesPort,
    passphrase: await choosePassphrase(flags),
    copy: copy === false ? null : copy,
    deviceCaFiles: flags.deviceCa,
    ownTls: tlsCertificate === undefined || tlsKey === undefined ? null : { certificate: tlsCertificate, key: tlsKey },
    portal,
    console: admins,
    admin: flags.admin,
    say: (progress) => process.stderr.write(`sparekey-server: ${progress}\n`),
  });
  const text = [
    `made ${result.dir} for ${result.serverUrl}`,
    `escrow certificate ${result.escrowCertificate}, valid until ${result.escrowValidUntil.slice(0, 10)}`,
    result.copy === null ? lost : `offline copy ${result.copy}, opened once`,
    '',
    'next:',
    ...result.next.map((step) => `  ${step}`),
  ].join('\n');
  const forwarded =
    portal && (new URL(portal.url).port || '443') !== String(portal.port)
      ? [`people reach ${portal.url}: forward its port to ${portal.port}, where the portal listens`]
      : [];
  if (admins && (new URL(admins.url).port || '443') !== String(admins.port))
    forwarded.push(`admins reach ${admins.url}: forward its port to ${admins.port}, where the console listens, on this machine alone (console.listen.host)`);
  const sameDisk = 'the offline copy lies on the same disk as the data folder: move it to one that is put away';
  return { json: result, text, warnings: [...(result.copy === null ? [lost] : []), ...(result.copyOnSameDisk ? [sameDisk] : []), ...forwarded] };
}
