import { Problem } from '../../protocol/problems.ts';
import { readPem } from '../certificates.ts';
import { readPrivate, readPublic } from '../private-files.ts';
import type { ServerSettings } from '../settings.ts';

const leastSecret = 32;

export function readWebhookSecret(path: string): Buffer {
  const secret = Buffer.from(readPrivate(path).toString('utf8').trim());
  if (secret.length < leastSecret) throw new Problem('SERVER_SETTINGS_INVALID', `${path}: a secret has at least ${leastSecret} characters`);
  return secret;
}

/** The files that they name, all mistakes at once; without those of settings that are wrong themselves. */
export function checkWebhooks({ webhooks }: ServerSettings, wrong: readonly string[] = []): void {
  const found: string[] = [];
  function look(setting: string, read: () => void): void {
    if (wrong.some((one) => setting.startsWith(one))) return;
    try {
      read();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      found.push(`${setting}: ${error.detail ?? error.code}`);
    }
  }
  for (const [index, { secretFile, trustedCertificatesFile: trusted }] of webhooks.entries()) {
    look(`webhooks.${index}.secretFile`, () => void readWebhookSecret(secretFile));
    look(`webhooks.${index}.trustedCertificatesFile`, () => {
      if (trusted !== null && readPem(readPublic(trusted).toString('utf8')).length === 0)
        throw new Problem('SERVER_SETTINGS_INVALID', `${trusted} holds no certificate in PEM`);
    });
  }
  if (found.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', found.join('; '));
}
