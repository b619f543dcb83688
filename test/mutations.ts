/*
 * What the promise stands on, each broken once: with the change, the test that is named here has to fail, or it tests
 * nothing. `npm run mutations` does it in a copy of the tree; test/mutations.test.ts keeps the list from growing stale.
 */

export interface Mutation {
  /** What is broken, as docs/reliability.md names it. */
  breaks: string;
  file: string;
  /** Stands exactly once in the file. */
  from: string;
  to: string;
  test: { file: string; name: string };
}

export const mutations: readonly Mutation[] = [
  {
    breaks: 'intent write: nothing is journaled before the server is asked',
    file: 'agent/intend.ts',
    from: 'run.journal.write({ rotation });',
    to: '',
    test: { file: 'test/interruption.test.ts', name: 'R1: before anything was changed: the rotation ends, the key stays, and the server hears of it' },
  },
  {
    breaks: 'intent write: `changing` is not journaled before fdesetup starts',
    file: 'agent/rotate.ts',
    from: 'spendTry(run, { rotation: changing, ownEscrowChangeDue: true, ...countChange(run) }); // 6',
    to: 'spendTry(run, { ownEscrowChangeDue: true, ...countChange(run) }); // 6',
    test: { file: 'test/interruption.test.ts', name: 'R2: after the change: the key in the output file is validated, sealed and delivered' },
  },
  {
    breaks: 'output file: fdesetup writes where nobody can read it again',
    file: 'agent/rotate.ts',
    from: 'startChange(run.runner, { key: old }, files); // 7',
    to: "startChange(run.runner, { key: old }, { out: '/dev/null', err: '/dev/null' }); // 7",
    test: {
      file: 'test/promises.test.ts',
      name: 'where the payload is the MDM’s, the output file is the only witness of a new key, and the next run finds it there',
    },
  },
  {
    breaks: 'receipt check: a receipt for another envelope is believed',
    file: 'agent/deliver.ts',
    from: 'if (receipt.envelopeId !== kept.envelopeId) throw',
    to: 'if (receipt.envelopeId === undefined) throw',
    test: { file: 'test/promises.test.ts', name: 'for another envelope is believed by nobody: the rotation stays open and its envelope stays' },
  },
  {
    breaks: 'receipt check: a new key counts as kept although the receipt does not say `held`',
    file: 'agent/rotate.ts',
    from: "if (receipt.state === 'held' && kept.validated === 'true') {",
    to: "if (kept.validated === 'true') {",
    test: { file: 'test/promises.test.ts', name: 'that does not say `held` is no success, and the envelope before stays' },
  },
  {
    breaks: 'hold, at the agent: the server’s `wait` is not obeyed',
    file: 'agent/decide.ts',
    from: 'if (it.reply.hold) return nothing',
    to: 'if (it.reply.hold === undefined) return nothing',
    test: { file: 'test/decide.test.ts', name: 'gate 1: the hold' },
  },
  {
    breaks: 'hold, at the server: a disclosure makes none',
    file: 'server/rotation-due.ts',
    from: 'return now < until ?',
    to: 'return now < 0 ?',
    test: { file: 'test/rotation.test.ts', name: 'is not replaced while its person is typing it, for any reason' },
  },
  {
    breaks: 'once per boot, at the server: a Mac that forgot owes for the same use again',
    file: 'server/check-in-reports.ts',
    from: 'stored?.closed_at === null && (await usedInBoot',
    to: 'stored?.closed_at === 0 && (await usedInBoot',
    test: { file: 'test/promises.test.ts', name: 'a Mac that lost its journal does not replace a used key twice in one boot session' },
  },
  {
    breaks: 'once per boot, at the agent: a debt for `used` is paid again',
    file: 'agent/decide.ts',
    from: "!(debt.because === 'used' && it.usedChanged)",
    to: "!(debt.because === 'used' && it.now < 0)",
    test: { file: 'test/decide.test.ts', name: 'used changes the key at most once in a boot session' },
  },
  {
    breaks: 'machine binding, at the agent: another machine’s journal is used',
    file: 'agent/journal.ts',
    from: 'if (found.hardwareUuid !== machine.hardwareUuid) {',
    to: 'if (found.hardwareUuid === undefined) {',
    test: {
      file: 'test/life-cycle.test.ts',
      name: 'brings journal, identity and job to another Mac: none is used there, it enrols anew and says so, and no key is superseded',
    },
  },
  {
    breaks: 'machine binding, at the server: a delivery of other hardware is accepted',
    file: 'server/delivery.ts',
    from: 'if (sameCase(request.hardwareUuid) !== sameCase(caller.hardwareUuid)) throw',
    to: 'if (request.hardwareUuid === undefined) throw',
    test: { file: 'test/life-cycle.test.ts', name: 'for another hardware: IDENTITY_MOVED, an alarm, and nothing is superseded' },
  },
  {
    breaks: 'audit in the transaction: an act goes on where its entry cannot be written',
    file: 'server/audit.ts',
    from: 'await addEntry(tx, { ...row, hash });',
    to: 'await addEntry(tx, { ...row, hash }).catch(() => undefined);',
    test: { file: 'test/promises.test.ts', name: 'nothing is shown, granted, begun or accepted, and nothing of it is stored' },
  },
  {
    breaks: 'supersede, not overwrite, at the server: the key before is destroyed with the new one',
    file: 'server/accept-key.ts',
    from: "await setRecordState(tx, other.id, 'superseded', `K3:",
    to: "await tx.updateTable('envelope').set({ bytes: null }).where('record_id', '=', other.id).execute();\n      await setRecordState(tx, other.id, 'destroyed', `K3:",
    test: { file: 'test/promises.test.ts', name: 'a key that was replaced is still there: it opens the backup of its day' },
  },
  {
    breaks: 'supersede, not overwrite, at the agent: a receipt alone lets the envelope before go',
    file: 'agent/journal.ts',
    from: "const settled = newer.held && newer.validated === 'true';",
    to: 'const settled = newer.held;',
    test: { file: 'test/journal.test.ts', name: 'and a receipt without proof is not enough, nor a proof without receipt' },
  },
  {
    breaks: 'wrong-key budget: of two keys in the keychain the dead one may be asked about first',
    file: 'agent/resolve.ts',
    from: "(which === 'likely'));\n  for (const item of asked.toSorted((one, other) => Number(other === own) - Number(one === own))) {",
    to: "(which === 'likely') || which === 'likely');\n  for (const item of asked.toSorted((one, other) => Number(one === own) - Number(other === own))) {",
    test: {
      file: 'test/keychain-custody.test.ts',
      name: 'R11: of two items the one that the open rotation names is asked about first, wherever the keychain names it: no dead key is tried',
    },
  },
  {
    breaks: 'wrong-key budget: keys are tried without end',
    file: 'agent/refusals.ts',
    from: 'if (within(day).length >= budget.perDay || within(7 * day).length >= budget.perWeek) return false;',
    to: '',
    test: { file: 'test/journal.test.ts', name: 'two within 24 hours' },
  },
  {
    breaks: 'wrong-key budget: a try is counted after macOS was asked, and not before',
    file: 'agent/refusals.ts',
    from: 'const id = spendTry(run);\n  const answer = await validate(run.runner, key);',
    to: 'const answer = await validate(run.runner, key);\n  const id = spendTry(run);',
    test: { file: 'test/promises.test.ts', name: 'a try is in the journal before macOS sees the key' },
  },
];
