import { X509Certificate } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { Backend } from './backend.ts';
import { revocationDigest } from './certificate-names.ts';
import { readPem } from './certificates.ts';
import { type CommandResult, table, when } from './command.ts';
import { ringOfMac } from './rings/commands.ts';
import { rolesTakenSince } from './store/admins.ts';
import { changeEnrolment, type EnrolmentRow, enrolmentById, enrolmentsOf, revocationsSince, revokeCertificate } from './store/enrolments.ts';
import { macById } from './store/macs.ts';
import { disabledSince } from './store/people.ts';

export interface Act {
  mac: string;
  reason: string;
  actor: string;
}

/** The Mac that an operator names, by serial number or id. */
export async function whichMac(backend: Backend, name: string): Promise<{ id: string; serial: string }> {
  const id = await backend.custody.findMac(name);
  return { id, serial: (await macById(backend.store.db, id))?.serial ?? name };
}

/** Acts of an operator on one Mac. The rules are custody's; here are the words. */
export async function rotate(backend: Backend, act: Act & { withoutLogin: boolean; overrideHold: boolean }): Promise<CommandResult> {
  const mac = await whichMac(backend, act.mac);
  const { withoutLogin, overrideHold, actor, reason } = act;
  const order = await backend.custody.orderRotation({ macId: mac.id, actor, reason, withoutLogin, overrideHold });
  const expiresAt = new Date(order.expiresAt).toISOString();
  const ring = await ringOfMac(backend, mac.id);
  return {
    ...(ring?.state === 'waiting' ? { warnings: [`it waits for our escrow payload (ring ${ring.ring}); \`sparekey-server ring drop\` ends that`] } : {}),
    json: { serial: mac.serial, macId: mac.id, orderId: order.orderId, expiresAt, withoutLogin, overrideHold },
    text: `${mac.serial} will replace its recovery key after its next check-in; the order ${order.orderId} ends on ${expiresAt}\nlook with: sparekey-server status ${mac.serial}`,
  };
}

/** All of them are found before anything is ordered: a name that means nothing, or two Macs, orders nothing. */
export async function prove(backend: Backend, act: { macs: readonly string[]; reason: string; actor: string }): Promise<CommandResult> {
  const macs: { id: string; serial: string }[] = [];
  for (const name of act.macs) {
    const mac = await whichMac(backend, name).catch((error: unknown) => {
      throw error instanceof Problem && error.code === 'MAC_AMBIGUOUS' ? new Problem(error.code, `${name} is ${error.detail}`) : error;
    });
    if (!macs.some((one) => one.id === mac.id)) macs.push(mac);
  }
  const results = [];
  for (const { id, serial } of macs) {
    try {
      const orders = await backend.custody.orderProofs({ macId: id, actor: act.actor, reason: act.reason });
      results.push({ serial, macId: id, orders, problem: null });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      results.push({ serial, macId: id, orders: [], problem: { code: error.code, says: error.message } });
    }
  }
  const now = backend.clock.now();
  const lines = results.map(({ serial, orders, problem }) => {
    if (problem) return `${serial}: nothing was ordered: ${problem.says} (${problem.code})`;
    const first = orders.map((order) => order.notBefore).toSorted()[0] ?? '';
    const from = Date.parse(first) > now ? `from ${first} on` : 'after its next check-in';
    return `${serial} is asked about ${orders.length} key(s) ${from}, as soon as somebody is logged in and settled`;
  });
  const failed = results.find((one) => one.problem)?.problem;
  return {
    json: { macs: results },
    text: [...lines, 'look with: sparekey-server status SERIAL'].join('\n'),
    ...(failed ? { exit: new Problem(failed.code).kind.exit } : {}),
  };
}

export async function endHold(backend: Backend, act: Act & { because: 'back-in' | 'not-me' }): Promise<CommandResult> {
  const mac = await whichMac(backend, act.mac);
  const { actor, reason, because } = act;
  const ended = await backend.custody.endHold({ macId: mac.id, actor, because, reason });
  return {
    json: { serial: mac.serial, macId: mac.id, ended },
    text: ended ? `the hold of ${mac.serial} has ended: its key is replaced after its next check-in` : `${mac.serial} has no hold`,
  };
}

export async function confirm(backend: Backend, act: Act & { enrolmentId: string | null }): Promise<CommandResult> {
  const mac = await whichMac(backend, act.mac);
  const waiting = (await enrolmentsOf(backend.store.db, mac.id)).filter((enrolment) => enrolment.status === 'active' && enrolment.confirmed === 0);
  const chosen = act.enrolmentId === null ? waiting : waiting.filter(({ id }) => id === act.enrolmentId);
  const [only, ...more] = chosen;
  if (!only) return { json: { serial: mac.serial, macId: mac.id, confirmed: null }, text: `${mac.serial} has no enrolment that waits to be confirmed` };
  if (more.length > 0) throw new Problem('USAGE', `more than one enrolment waits: name one with --enrolment (${chosen.map(({ id }) => id).join(', ')})`);
  await backend.custody.confirmEnrolment({ enrolmentId: only.id, actor: act.actor, reason: act.reason });
  return {
    json: { serial: mac.serial, macId: mac.id, confirmed: only.id },
    text: `enrolment ${only.id} of ${mac.serial} is confirmed: it may be given keys that it has not delivered itself`,
  };
}

/** Ends enrolments, and with them the profile certificates that proved them: otherwise the same proof would enrol again. */
export async function revoke(backend: Backend, act: { target: string; reason: string; actor: string; keepCertificate: boolean }): Promise<CommandResult> {
  const { store, clock } = backend;
  const one = await enrolmentById(store.db, act.target);
  const macId = one ? one.mac.id : await backend.custody.findMac(act.target);
  const ended = await store.write(async (tx) => {
    const at = await clock.persist(tx);
    const enrolments = one ? [one.enrolment] : (await enrolmentsOf(tx, macId)).filter(({ status }) => status === 'active');
    let certificates = 0;
    for (const enrolment of enrolments.filter(({ status }) => status !== 'revoked')) {
      await changeEnrolment(tx, enrolment.id, { status: 'revoked', status_because: act.reason, status_at: at, replaced_after: null });
      if (!act.keepCertificate) certificates += await revokeProfile(enrolment);
      await audit(tx, {
        at,
        actor: act.actor,
        act: 'enrolment.revoked',
        macId,
        details: { enrolmentId: enrolment.id, reason: act.reason, withCertificate: !act.keepCertificate },
      });
    }
    async function revokeProfile(enrolment: EnrolmentRow): Promise<number> {
      if (enrolment.profile_certificate === null) return 0;
      await revokeCertificate(tx, revocationDigest(new X509Certificate(Buffer.from(enrolment.profile_certificate))), at, act.reason);
      return 1;
    }
    return { enrolments: enrolments.map(({ id }) => id), certificates };
  });
  backend.log.info('enrolment-ended', { macId, enrolments: ended.enrolments.length });
  return { json: { macId, ...ended }, text: `revoked: ${ended.enrolments.length} enrolment(s), ${ended.certificates} profile certificate(s)` };
}

/** A profile certificate that must not be accepted any more, before it was ever used here. */
export async function revokeCertificateFile(backend: Backend, act: { pem: Buffer; reason: string; actor: string }): Promise<CommandResult> {
  const [der] = readPem(act.pem.toString('utf8'));
  if (!der) throw new Problem('USAGE', 'the file holds no certificate in PEM');
  const certificate = new X509Certificate(der);
  const digest = revocationDigest(certificate);
  await backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await revokeCertificate(tx, digest, at, act.reason);
    await audit(tx, { at, actor: act.actor, act: 'certificate.revoked', details: { digest, serialNumber: certificate.serialNumber, reason: act.reason } });
  });
  return { json: { digest }, text: `the certificate ${certificate.serialNumber} is accepted no more` };
}

/** What `restore` asks for: keep a copy of it beside the backups. */
export async function revocations(backend: Backend, since: number): Promise<CommandResult> {
  const list = {
    since: new Date(since).toISOString(),
    ...(await revocationsSince(backend.store.db, since)),
    people: await disabledSince(backend.store.db, since),
    roles: await rolesTakenSince(backend.store.db, since),
  };
  return { json: list, text: JSON.stringify(list, null, 2) };
}

export async function judgeAlarm(backend: Backend, act: { alarmId: string; judgement: string; actor: string }): Promise<CommandResult> {
  await backend.custody.judgeAlarm(act);
  return { json: { alarmId: act.alarmId, judged: true }, text: `alarm ${act.alarmId} is judged` };
}

export async function ticketNew(backend: Backend, act: { serials: string[]; days: number; actor: string }): Promise<CommandResult> {
  const { id, ticket, expiresAt } = await backend.tickets.make(act);
  return {
    json: { id, ticket, expiresAt: new Date(expiresAt).toISOString(), serials: act.serials.length },
    text: ticket,
    warnings: [
      `ticket ${id}, good until ${when(expiresAt)} for ${act.serials.length} serial number(s); it is shown this once`,
      'put it into the managed settings as `enrolmentTicket`; every user of a Mac can read it there, so it is weaker than a device certificate',
      ...(act.serials.length === 0 ? [`it names no serial numbers: let each Mac in with \`sparekey-server ticket allow ${id} SERIAL --reason …\``] : []),
    ],
  };
}

export async function ticketList(backend: Backend): Promise<CommandResult> {
  const tickets = (await backend.tickets.list()).map((ticket) => ({ ...ticket, createdAt: when(ticket.createdAt), expiresAt: when(ticket.expiresAt) }));
  const rows = tickets.map((ticket) => [ticket.id, ticket.state, ticket.expiresAt, `${ticket.used} of ${ticket.serials}`, ticket.createdBy]);
  return { json: { tickets }, text: tickets.length === 0 ? 'there are no tickets' : table(['ticket', 'state', 'until', 'used', 'made by'], rows) };
}
