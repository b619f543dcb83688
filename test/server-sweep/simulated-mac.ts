import { randomUUID } from 'node:crypto';
import { Agent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { grantStatement, makeRunKey, openGrant } from '../../protocol/grant.ts';
import type { BeginRequest, CheckInReply, CheckInRequest, DeliveryRequest, Receipt } from '../../protocol/messages.ts';
import { checkInBody, deviceIdentity, enrol, factsOf, newKeyText, newMac, newPair, sealedDelivery } from '../device-calls.ts';
import { signTo } from '../sign-statement.ts';
import type { Answer, Asking, Identity } from '../tls-client.ts';
import type { SweptBackend } from './backend-process.ts';
import type { Chance } from './chance.ts';
import type { GivenReceipt, GivenWord, Ledger } from './receipts.ts';

/*
 * A Mac as the backend sees it, without an agent: it repeats each message until it is answered, as the agent does, and
 * writes down every answer that it would rely on. Its recovery key changes by its own rotations only.
 */

/** Refusals that a truthful Mac may get: it goes on with something else. */
const refusals = ['ROTATION_WAIT', 'ROTATION_LIMIT', 'ROTATION_NOT_OWED', 'ROTATION_ALARM', 'GRANT_REFUSED', 'GRANT_LIMIT', 'NONCE_REFUSED'];
/** Between two tries of one message, and between two messages: what keeps the load bounded. Milliseconds. */
const pause = { retry: 40, least: 5, most: 40 };
const steps = ['rotate', 'rotate', 'rotate, proved later', 'begin and end', 'prove', 'witness', 'again', 'look'] as const;
/** Not now: the same message is sent again. */
const isPassing = ({ status, body }: Answer): boolean => status === 503 || body?.code === 'TOO_MANY_REQUESTS';
/** A backend forgets how much a Mac has asked only when it dies, so that no course may be long. */
const mostSteps = 10;

export class SimulatedMac {
  readonly mac = newMac();
  readonly #backend: SweptBackend;
  readonly #ledger: Ledger;
  readonly #chance: Chance;
  readonly #agent: Agent;
  readonly #pair = newPair();
  readonly #own: GivenReceipt[] = [];
  readonly #begunAt = performance.now();
  #identity: Identity | null = null;
  #enrolmentId = '';
  /** The key that opens it, and one envelope of it that the backend has. */
  #key = newKeyText();
  #envelopeId = '';
  #keys = 0;

  constructor(backend: SweptBackend, ledger: Ledger, chance: Chance) {
    this.#backend = backend;
    this.#agent = new Agent({ keepAlive: !backend.freshly, maxSockets: 1 });
    this.#ledger = ledger;
    this.#chance = chance;
  }

  /** From its enrolment to the end of its course, or until it is told to stop, between two steps. */
  async live(stopping: () => boolean): Promise<void> {
    try {
      await this.#enrol();
      await this.#checkIn();
      this.#envelopeId = (await this.#deliver(this.#key, {}))?.envelopeId ?? '';
      // A new key is to be proved first, by a key that the backend gives.
      await this.#grant();
      await this.#rotate('true');
      for (let step = 0; step < mostSteps && !stopping(); step += 1) await this.#take(this.#chance.among(steps));
      // The last word about its present key, so that what must be held now is certain.
      await this.#prove(this.#envelopeId);
      this.#ledger.ends.push({ serial: this.mac.serial, envelopeId: this.#envelopeId, keys: this.#keys });
    } finally {
      this.#agent.destroy();
    }
  }

  /** Every receipt once more: nothing is stored, and the answer names the same record. */
  async repeatAll(): Promise<string[]> {
    const wrong: string[] = [];
    for (const { envelopeId, recordId, request } of this.#own) {
      const answer = await this.#ask(`/v1/keys/${envelopeId}`, { method: 'PUT', body: request });
      if (answer.status === 200 && answer.body.recordId === recordId) continue;
      wrong.push(`${this.mac.serial}: envelope ${envelopeId.slice(0, 12)} again: ${answer.status} ${answer.body?.code ?? answer.body?.recordId}`);
    }
    this.#agent.destroy();
    return wrong;
  }

  async #take(step: (typeof steps)[number]): Promise<void> {
    if (step === 'rotate') return this.#rotate('true');
    if (step === 'rotate, proved later') return this.#rotate('unknown');
    if (step === 'begin and end') return this.#beginAndEnd();
    if (step === 'prove') return this.#prove(this.#envelopeId);
    if (step === 'witness') return void (await this.#deliver(this.#key, { source: 'agent' }, false));
    if (step === 'look') return this.#look();
    const [one] = this.#own.slice(this.#chance.between(0, this.#own.length - 1));
    if (one) await this.#put(one.envelopeId, one.request, one.key);
  }

  async #enrol(): Promise<void> {
    const profile = deviceIdentity({ CN: 'A Mac', serialNumber: this.mac.serial });
    for (;;) {
      await this.#untilUp();
      // The same key again is the same enrolment, also when the answer to the first was lost.
      const tried = await enrol(this.#backend, this.mac, { profile, pair: this.#pair }).catch(() => null);
      if (tried?.answer.status === 200) {
        this.#identity = tried.identity;
        this.#enrolmentId = tried.enrolmentId;
        return this.#write('enrolment', tried.enrolmentId);
      }
      // A nonce that was spent by an enrolment whose answer was lost, or that another life of the backend has made.
      if (tried && !isPassing(tried.answer) && tried.answer.body?.code !== 'NONCE_REFUSED') this.#surprise('enrolment', tried.answer);
      await sleep(pause.retry * (tried ? 5 : 1));
    }
  }

  async #untilUp(): Promise<void> {
    while (!this.#backend.up) await sleep(pause.retry);
  }

  /** Until there is an answer. A connection that breaks, a backend that is not there or stops, and a wait are none. */
  async #ask(path: string, asking: Asking): Promise<Answer> {
    await sleep(this.#chance.between(pause.least, pause.most));
    for (;;) {
      await this.#untilUp();
      const answer = await this.#backend.client.ask(path, { ...asking, identity: this.#identity ?? undefined, agent: this.#agent }).catch(() => null);
      if (answer && !isPassing(answer)) {
        this.#ledger.answers += 1;
        if (answer.status >= 300 && !refusals.includes(answer.body?.code)) this.#surprise(path.slice(0, 12), answer);
        return answer;
      }
      this.#ledger.cut += 1;
      await sleep(pause.retry * (answer ? 5 : 1));
    }
  }

  async #checkIn(more: Partial<CheckInRequest> = {}): Promise<CheckInReply> {
    const facts = factsOf(this.mac, { uptimeSeconds: this.#uptime() });
    const { body } = await this.#ask('/v1/check-in', { body: checkInBody(this.mac, { facts, ...more }) });
    const reply = body as CheckInReply;
    for (const id of reply.confirmed?.debts ?? []) this.#write('debt', id);
    for (const id of reply.confirmed?.proofs ?? []) this.#write('proof', id);
    for (const id of reply.confirmed?.endings ?? []) this.#write('ending', id);
    return reply;
  }

  #uptime = (): number => 3600 + Math.floor((performance.now() - this.#begunAt) / 1000);

  async #deliver(key: string, more: Partial<DeliveryRequest>, isNew = true): Promise<Receipt | null> {
    const { id, request } = sealedDelivery(this.#backend.escrow.der, this.mac, { key, ...more });
    if (isNew) this.#keys += 1;
    return this.#put(id, request, key);
  }

  async #put(id: string, request: DeliveryRequest, key: string): Promise<Receipt | null> {
    const { status, body } = await this.#ask(`/v1/keys/${id}`, { method: 'PUT', body: request });
    if (status >= 300) return null;
    const receipt = body as Receipt;
    const given = { serial: this.mac.serial, envelopeId: id, recordId: receipt.recordId, state: receipt.state, request, key };
    this.#ledger.receipts.push(given);
    this.#ledger.told?.('receipt');
    if (!this.#own.some((one) => one.envelopeId === id)) this.#own.push(given);
    return receipt;
  }

  /** A debt that the Mac saw the cause of, then begin: null where it may not now. */
  async #begin(): Promise<string | null> {
    const debt = { id: randomUUID(), because: 'aged' as const, envelopeId: this.#envelopeId, boot: this.mac.boot };
    const { debts } = await this.#checkIn({ debts: [debt] });
    // Whatever is owed besides, such as what an admin has ordered, is paid by the same new key.
    const debtIds = [debt.id, ...debts.map(({ id }) => id).filter((id) => id !== debt.id)].slice(0, 16);
    const { hardwareUuid, volume, boot } = this.mac;
    const request: BeginRequest = {
      id: randomUUID(),
      because: 'aged',
      debtIds,
      hardwareUuid,
      volume,
      boot,
      recipient: this.#backend.escrow.digest,
      escrowPayload: 'ours',
      grant: null,
    };
    const { status } = await this.#ask('/v1/rotations', { body: request });
    if (status !== 200) return null;
    this.#write('rotation', request.id);
    return request.id;
  }

  async #rotate(validated: 'true' | 'unknown'): Promise<void> {
    const rotationId = await this.#begin();
    if (rotationId === null) return;
    const key = newKeyText();
    const receipt = await this.#deliver(key, { source: 'rotation', rotationId, validated });
    if (!receipt) return;
    this.#key = key;
    this.#envelopeId = receipt.envelopeId;
    if (validated === 'unknown') await this.#prove(receipt.envelopeId);
    else if (receipt.state !== 'held') this.#ledger.surprises.push(`${this.mac.serial}: the key of a rotation is ${receipt.state}`);
  }

  async #beginAndEnd(): Promise<void> {
    const rotationId = await this.#begin();
    if (rotationId === null) return;
    await this.#checkIn({ endings: [{ rotationId, as: 'not-changed', detail: 'R1' }] });
  }

  async #prove(envelopeId: string, orderId: string | null = null): Promise<void> {
    const uptimeSeconds = this.#uptime();
    await this.#checkIn({ proofs: [{ id: randomUUID(), envelopeId, orderId, answer: 'true', settled: true, boot: this.mac.boot, uptimeSeconds }] });
  }

  async #grant(): Promise<void> {
    const reply = await this.#checkIn();
    const [order] = reply.proofOrders;
    if (!order) return;
    const { publicKey, privateKey } = await makeRunKey();
    const asked = {
      purpose: 'prove' as const,
      recordId: order.recordId,
      forId: order.id,
      boot: this.mac.boot,
      publicKey,
      grantNonce: reply.grantNonce,
      enrolmentId: this.#enrolmentId,
    };
    const signature = signTo.key(grantStatement(asked), this.#pair.privateKey);
    const { status, body } = await this.#ask('/v1/grants', { body: { ...asked, signature } });
    if (status !== 200) return;
    this.#write('grant', order.id);
    const key = await openGrant(body.jwe, privateKey, asked);
    if (key?.reveal() !== this.#key) this.#ledger.surprises.push(`${this.mac.serial}: a grant gave another key than the one that opens it`);
    await this.#prove(this.#envelopeId, order.id);
  }

  /** What it has receipts for is not wanted any more. */
  async #look(): Promise<void> {
    const offers = this.#own.slice(-12).map((one) => one.envelopeId);
    const { wanted } = await this.#checkIn({ offers });
    for (const id of wanted ?? []) this.#ledger.surprises.push(`${this.mac.serial}: envelope ${id.slice(0, 12)} has a receipt and is wanted again`);
  }

  #write(kind: GivenWord['kind'], id: string): void {
    this.#ledger.words.push({ serial: this.mac.serial, kind, id });
    this.#ledger.told?.(kind);
  }
  #surprise(what: string, answer: Answer): void {
    this.#ledger.surprises.push(`${this.mac.serial}: ${what} was answered ${answer.status} ${answer.body?.code ?? ''} ${answer.body?.detail ?? ''}`.trim());
  }
}
