import { expect, test } from '@jest/globals';
import { guardedMac } from './disclosure-parts.ts';

/* An admin says whose a Mac is: not that it is their own, under whichever name, and not unheard by whose Mac it was. */

test('an admin gives no Mac to another account of their own; whose it was hears of it, and whom it is given to asks first where nobody is shown a key alone', async () => {
  const it = await guardedMac({ needs: 'second-person' });
  const admin = await it.as('admin');
  const chief = await it.portal.person('chief');
  await it.assign(chief);
  const give = (userName: string) => admin.post(`/v1/devices/${it.id}/assign`, { userName, reason: 'a new machine' });
  const other = await it.portal.person(`${admin.userName}@elsewhere.example`.slice(0, 60).replace(/@.*/, '.second'), {
    email: `${admin.userName}@example.org`,
  });
  for (const name of [admin.userName, `${admin.userName.toUpperCase()}@corp.example`, other.userName]) {
    expect([name, (await give(name)).body.code]).toEqual([name, 'OWN_REQUEST']);
  }

  const friend = await it.portal.person('friend');
  expect((await give(friend.userName)).body).toEqual({ users: [friend.userName] });
  const mails = await it.mails();
  expect(mails.map(({ kind, address }) => [kind, address])).toEqual([['mac-not-yours', 'chief@example.org']]);
  const page = await friend.client.get(`/macs/${it.id}/key`);
  expect(page.path).toBe(`/macs/${it.id}/request`);
  expect(page.words).not.toContain('Get recovery key');

  // A day later it is theirs like anybody's.
  it.pass(24 * 3600 + 60);
  await it.portal.signIn(friend.client, 'friend');
  expect((await friend.client.get(`/macs/${it.id}/key`)).words).toContain('Get recovery key');
});
