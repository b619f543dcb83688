import type { RoleSaid } from './admins/review.ts';
import type { Backend } from './backend.ts';
import { type CommandResult, neededReason, table, when } from './command.ts';
import { type Commands, collect } from './parts-command-line.ts';
import type { Role } from './permissions.ts';

/** `role …` and `token …`: who may do what at the console, by whoever has the machine. The first owner is made here. */
export function addRoleCommands({ program, add, inBackend }: Commands): void {
  const role = program.command('role').description('who may do what in the console, and with its API');
  const parts = async () => ({
    ...(await import('./admins/roles.ts')),
    ...(await import('./admins/grants.ts')),
    ...(await import('./admins/review.ts')),
    ...(await import('./admins/groups.ts')),
  });

  /** What was typed, as it is meant. */
  async function meant(backend: Backend, name: string, typed: string, options: { tag: string[]; group?: boolean }) {
    const { roleName, scopeTags } = await parts();
    const { Problem } = await import('../protocol/problems.ts');
    const read = roleName.safeParse(typed);
    if (!read.success) throw new Problem('USAGE', `a role is one of ${roleName.options.join(', ')}`);
    const tags = scopeTags.safeParse(options.tag);
    if (options.tag.length > 0 && !tags.success) throw new Problem('USAGE', 'a tag has 1 to 128 signs');
    const { personNamed } = await import('./accounts.ts');
    const { groupNamed, sayGroup } = await parts();
    const subject = options.group
      ? { kind: 'group' as const, ...groupNamed(backend.settings, name) }
      : { kind: 'person' as const, person: await personNamed(backend.store.db, name) };
    return { role: read.data, scope: tags.data ?? null, subject, said: subject.kind === 'group' ? `the group ${sayGroup(subject)}` : subject.person.user_name };
  }
  const where = async (scope: readonly string[] | null): Promise<string> => (await parts()).sayScope(scope);

  const roles = (['viewer', 'help-desk', 'rotator', 'approver', 'auditor', 'admin', 'owner'] satisfies Role[]).join(', ');
  add(role, 'give <name> <role>', `gives somebody a role: ${roles}`, 'role give ada@example.org owner --reason "runs Sparekey"', 'folder', 'reason')
    .option('--group', 'the name is of a group, as the provider writes it')
    .option('--tag <tag>', 'only for Macs with this tag (more than once)', collect, [])
    .action(async (name: string, typed: string, options) => {
      const reason = neededReason(options.reason);
      await inBackend(options, async (backend, actor) => {
        const { subject, scope, said, role: wanted } = await meant(backend, name, typed, options);
        const { operatorAdmin } = await import('./admins/admin.ts');
        const { giveRole } = await parts();
        const { id, given } = await giveRole(backend, operatorAdmin(actor), { subject, role: wanted, scope, reason });
        const words = `${wanted}, for ${await where(scope)}`;
        return {
          json: { id, given, name, group: subject.kind === 'group', role: wanted, tags: scope },
          text: given ? `${said} is ${words}` : `${said} was ${words} already; nothing was changed`,
          warnings: backend.settings.console ? [] : ['settings.json has no `console`: there is nothing yet that the role is for'],
        };
      });
    });

  add(role, 'take <name> <role>', 'takes a role away again', 'role take ada@example.org owner --reason "left the team"', 'folder', 'reason')
    .option('--group', 'the name is of a group, as the provider writes it')
    .option('--tag <tag>', 'only what was given for just these tags (more than once)', collect, [])
    .action(async (name: string, typed: string, options) => {
      const reason = neededReason(options.reason);
      await inBackend(options, async (backend, actor) => {
        const { subject, scope, said, role: wanted } = await meant(backend, name, typed, options);
        const { operatorAdmin } = await import('./admins/admin.ts');
        const { rolesSaid, takeRole } = await parts();
        // What was given before groups had a provider is taken with either.
        const isTheirs = ({ subject: { id }, group }: RoleSaid): boolean =>
          subject.kind === 'person'
            ? group === null && id === subject.person.id
            : group?.name === subject.name && [null, subject.provider].includes(group.provider);
        const all = (await rolesSaid(backend.store.db)).filter((one) => isTheirs(one) && one.role === wanted);
        const found = all.filter((one) => scope === null || JSON.stringify(one.scope) === JSON.stringify(scope));
        if (found.length === 0) {
          const { Problem } = await import('../protocol/problems.ts');
          throw new Problem('NOT_FOUND', `${said} has no role ${wanted}${scope === null ? '' : ` for ${await where(scope)}`} by name`);
        }
        for (const one of found) await takeRole(backend, operatorAdmin(actor), { id: one.id, reason });
        return { json: { name, role: wanted, taken: found.map((one) => one.id) }, text: `${said} is ${wanted} no more; what they are in a group stays` };
      });
    });

  add(role, 'list', 'lists who was given which role', 'role list', 'folder').action(async (options) => {
    await inBackend(options, async (backend): Promise<CommandResult> => {
      const { rolesSaid, sayScope } = await parts();
      const all = await rolesSaid(backend.store.db);
      const owners = all.some((one) => one.role === 'owner');
      return {
        json: { roles: all.map(({ scope, since, group: _, ...one }) => ({ ...one, tags: scope, since: when(since) })) },
        text:
          all.length === 0
            ? 'nobody has a role'
            : table(
                ['NAME', 'ROLE', 'FOR', 'SINCE', 'GIVEN BY', 'REASON'],
                all.map((one) => [
                  one.subject.kind === 'group' ? `group ${one.subject.name}` : one.subject.name,
                  one.role,
                  sayScope(one.scope),
                  when(one.since),
                  one.by,
                  one.reason,
                ]),
              ),
        warnings: owners ? [] : ['nobody is owner: `sparekey-server role give NAME owner --reason …`'],
      };
    });
  });

  const token = program.command('token').description('tokens of the admin API; people make theirs in the console');
  add(token, 'list', 'lists the tokens that can be used', 'token list', 'folder').action(async (options) => {
    await inBackend(options, async (backend) => {
      const { accessReview } = await parts();
      const { tokens } = await accessReview(backend, backend.clock.now());
      const rows = tokens.map((one) => [
        one.id,
        one.maker,
        one.name,
        one.kind,
        when(one.expiresAt),
        when(one.lastUsedAt),
        one.powerless ? 'may nothing' : 'usable',
      ]);
      return {
        json: {
          tokens: tokens.map(({ madeAt, expiresAt, lastUsedAt, endedAt: _, endedBy: __, ...one }) => ({
            ...one,
            madeAt: when(madeAt),
            expiresAt: when(expiresAt),
            lastUsedAt: lastUsedAt === null ? null : when(lastUsedAt),
          })),
        },
        text: rows.length === 0 ? 'there are no tokens' : table(['TOKEN', 'OF', 'NAME', 'KIND', 'UNTIL', 'LAST USED', 'STATE'], rows),
      };
    });
  });
  add(token, 'end <id>', 'ends a token', 'token end 0b9c…', 'folder', 'actor').action(async (id: string, options) => {
    await inBackend(options, async (backend, actor) => {
      const { operatorAdmin } = await import('./admins/admin.ts');
      const { endToken } = await import('./admins/tokens.ts');
      const ended = await endToken(backend, operatorAdmin(actor), id);
      return { json: { id, ended: true }, text: `the token ${ended.name} has ended` };
    });
  });
}
