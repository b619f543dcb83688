import { expect, test } from '@jest/globals';
import { isNarrow } from '../server/narrow-acts.ts';

/* What an act beside others may write, by the texts that PostgreSQL is sent. */

const own = { macId: 'm', enrolmentId: 'e' };

test.each([
  ['select * from "mac" where "id" = $1', ['other']],
  ['with "a" as (select 1) select * from "a"', []],
  ['update "mac" set "last_seen_at" = $1, "facts" = $2 where "id" = $3', [1, '{}', 'm']],
  ['update "fleet_row" set "last_seen_at" = $1 where "mac_id" = $2', [1, 'm']],
  ['update "foreign_file" set "last_seen_at" = $1 where "mac_id" = $2 and "digest" = $3', [1, 'm', 'd']],
  ['insert into "mac_dirty" ("mac_id") values ($1) on conflict do nothing', ['m']],
  ['insert into "session" ("enrolment_id", "boot") values ($1, $2) on conflict ("enrolment_id", "boot") do update set "last_seen_at" = $3', ['e', 'b', 1]],
  ['delete from "session" where "enrolment_id" = $1 and "boot" not in (select "boot" from "session" where "enrolment_id" = $2 limit $3)', ['e', 'e', 1]],
  [
    'with "write_0" as (insert into "session" ("boot", "enrolment_id") values ($1, $2)) update "enrolment" set "last_seen_at" = $3 where "id" = $4',
    ['b', 'e', 1, 'e'],
  ],
])('may be sent: %s', (text, parameters) => {
  expect(isNarrow(text, parameters, own)).toBe(true);
});

test.each([
  ['update "mac" set "last_seen_at" = $1 where "id" = $2', [1, 'other']],
  ['update "mac" set "last_seen_at" = $1 where "id" = $2', ['m', 1]],
  ['update "mac" set "last_seen_at" = $1', [1]],
  ['update "mac" set "last_seen_at" = $1 where "id" = $2 or "id" = $3', [1, 'm', 'other']],
  ['update "mac" set "serial" = $1 where "id" = $2', ['x', 'm']],
  ['update "mac" set "last_seen_at" = (select max("at") from "audit") where "id" = $1', ['m']],
  ['update "enrolment" set "status" = $1 where "id" = $2', ['revoked', 'e']],
  ['update "enrolment" set "last_seen_at" = $1 where "id" = $2', [1, 'm']],
  ['insert into "mac_dirty" ("mac_id") values ($1) on conflict do nothing', ['other']],
  ['insert into "mac" ("id") values ($1)', ['m']],
  ['insert into "session" ("enrolment_id") values ($1), ($2)', ['e', 'other']],
  ['insert into "audit" ("seq") values ($1)', [1]],
  ['delete from "session" where "enrolment_id" = $1 or "boot" = $2', ['e', 'b']],
  ['delete from "mac_dirty" where "mac_id" = $1', ['m']],
  ['with "a" as (delete from "debt" where "mac_id" = $1) select 1', ['m']],
  ['with "a" as (update "mac" set "last_seen_at" = $1 where "id" = $2) update "mac" set "last_seen_at" = $1 where "id" = $3', [1, 'm', 'other']],
  ['with "a" as (select \')\') update "mac" set "last_seen_at" = $1 where "id" = $2', [1, 'm']],
  ['select * from "mac" where "id" = $1 for update', ['m']],
  ['select pg_notify($1, $2)', ['a', 'b']],
  ['select pg_advisory_xact_lock(1)', []],
  ['truncate "mac"', []],
  ['update "mac" set "last_seen_at" = $1 where "id" = $2; drop table "mac"', [1, 'm']],
])('is done alone: %s', (text, parameters) => {
  expect(isNarrow(text, parameters, own)).toBe(false);
});
