import { describe, expect, test } from '@jest/globals';
import { stopsSelfService } from '../server/alarms.ts';
import { openAlarmsOf } from '../server/store/alarms.ts';
import { codeOf, type GivenServer, givenServer, minute } from './server-parts.ts';

/* What the person of a Mac says of it, and what follows in the same transaction. */

async function given() {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.escrowed();
  return { server, mac, who: { macId: mac.id, personId: 'a person', actor: 'ada' } };
}
const view = (server: GivenServer, macId: string) => server.custody.disclose({ macId, actor: 'help desk', reason: 'locked out', person: 'ada' });

describe('“I am back in”', () => {
  test('ends the hold and is said once; without a hold nothing is written', async () => {
    const { server, mac, who } = await given();
    expect(await server.custody.backIn(who)).toEqual({ holdEnded: false });
    await view(server, mac.id);
    expect((await mac.checkIn()).hold).not.toBeNull();
    expect([await server.custody.backIn(who), await server.custody.backIn(who)]).toEqual([{ holdEnded: true }, { holdEnded: false }]);
    expect((await mac.checkIn()).hold).toBeNull();
    expect((await server.acts('hold.ended')).map(({ actor }) => actor)).toEqual(['ada']);
    await server.close();
  });

  test('is refused whole by what comes before it', async () => {
    const { server, mac, who } = await given();
    await view(server, mac.id);
    const before = async () => {
      throw new Error('no');
    };
    await expect(server.custody.backIn({ ...who, before })).rejects.toThrow('no');
    expect((await mac.checkIn()).hold).not.toBeNull();
    await server.close();
  });
});

describe('“this was not me”', () => {
  test('of a view by an admin too: the hold ends, one order is given however often it is said, and the alarm stops no rotation', async () => {
    const { server, mac, who } = await given();
    const { disclosureId } = await view(server, mac.id);
    server.wall.pass(minute);
    const said = { ...who, disclosureId };
    expect(await server.custody.notMe(said)).toMatchObject({ key: 'ordered', holdEnded: true, episodeId: null, saidBefore: false });
    expect(await server.custody.notMe(said)).toMatchObject({ key: 'ordered', holdEnded: false, saidBefore: true });
    const reply = await mac.checkIn();
    expect([reply.hold, reply.custody, reply.alarms, reply.debts.map(({ because }) => because).toSorted()]).toEqual([
      null,
      'held',
      [],
      ['disclosed', 'ordered'],
    ]);
    const alarms = await openAlarmsOf(server.store.db, mac.id);
    expect([alarms.map(({ code }) => code), stopsSelfService(alarms)]).toEqual([['NOT_ME'], true]);
    await mac.rotate();
    expect(await server.custody.notMe(said)).toMatchObject({ key: 'replaced' });
    expect((await mac.checkIn()).debts).toEqual([]);
    expect((await server.acts('rotation.ordered')).length).toBe(1);
    await server.close();
  });

  test('has happened whole or not at all, and is about a view of this Mac', async () => {
    const { server, mac, who } = await given();
    const { disclosureId } = await view(server, mac.id);
    const after = async () => {
      throw new Error('the mail could not be written');
    };
    await expect(server.custody.notMe({ ...who, disclosureId, after })).rejects.toThrow('the mail');
    const other = await server.newMac();
    expect(await codeOf(server.custody.notMe({ ...who, macId: other.id, disclosureId }))).toBe('NOT_FOUND');
    expect((await mac.checkIn()).hold).not.toBeNull();
    expect([await server.acts('rotation.ordered'), await openAlarmsOf(server.store.db, mac.id)]).toEqual([[], []]);
    await server.close();
  });
});
