import type { CustodyParts } from '../custody-parts.ts';
import { fleetIsFresh } from '../fleet/project.ts';
import type { Tx } from '../parts.ts';
import type { Admin, Scope } from '../permissions.ts';
import { type PolicyRow, type PolicyVersionRow, policyRows, policyVersions } from '../store/policies.ts';
import { type ProposalRow, proposalRows } from '../store/weaker-disclosure.ts';
import { applyProposal, endPolicy, mayTouch, type PolicyChange, type PolicyDone, type PolicyEnding, putPolicy, seesPolicy } from './change.ts';
import { type Draft, type DryRun, dryRun } from './dry-run.ts';
import { noticeAges, noticeEvents } from './notice.ts';
import { placeAutomatic } from './place.ts';
import { builtInRules, type Policy, type PolicyRules, policyOf, policyRules, type Sections } from './policy.ts';
import { agreeProposal, type Deciding, declineProposal, tagsOfProposal } from './proposals.ts';

export interface PolicyInForce extends Policy {
  changedAt: number;
  changedBy: string;
}

/** A policy as it stood. */
interface PolicyVersion {
  policyId: string;
  version: number;
  at: number;
  actor: string;
  reason: string;
  name: string;
  rank: number;
  tags: string[] | null;
  /** Null: it ended. */
  rules: PolicyRules | null;
}

const versionOf = ({ policy_id: policyId, tags, rules, ...rest }: PolicyVersionRow): PolicyVersion => ({
  ...rest,
  policyId,
  tags: tags === null ? null : (JSON.parse(tags) as string[]),
  rules: rules === null ? null : policyRules.parse(JSON.parse(rules)),
});

/** What holds for which Macs, and what it has replaced without anybody asking. */
export interface Policies {
  /** In order of rank: those that may be for Macs of the scope. */
  list(scope: Scope): Promise<PolicyInForce[]>;
  put(change: PolicyChange): Promise<PolicyDone>;
  /** Null: it has ended; else the proposal that waits for a second person. */
  end(ending: PolicyEnding): Promise<string | null>;
  /** What waits for a second person, or has waited: of policies that may be for Macs of the scope, newest first. */
  proposals(scope: Scope, open: boolean): Promise<ProposalRow[]>;
  agree(admin: Admin, deciding: Deciding, before?: Before): Promise<ProposalRow>;
  decline(admin: Admin, deciding: Deciding, before?: Before): Promise<ProposalRow>;
  /** What holds where none of them says anything. */
  readonly builtIn: Sections;
  /** As they stood, newest first. */
  history(
    scope: Scope,
    wish: Parameters<typeof policyVersions>[1],
  ): Promise<{ items: PolicyVersion[]; last: { at: number; id: string; version: number } | null }>;
  dryRun(scope: Scope, draft: Draft): Promise<DryRun>;
  /** Notices and places what is due. */
  run(): Promise<void>;
}

const inForce = (row: PolicyRow): PolicyInForce => ({ ...policyOf(row), changedAt: row.changed_at, changedBy: row.changed_by });
type Before = (tx: Tx, at: number) => Promise<void>;
const mostEventActs = 50;

export function createPolicies(parts: CustodyParts): Policies {
  const round = { after: '' };
  return {
    list: async (scope) => (await policyRows(parts.store.db)).map(inForce).filter(({ tags }) => seesPolicy(scope, tags)),
    put: (change) => putPolicy(parts, change),
    end: (ending) => endPolicy(parts, ending),
    proposals: async (scope, open) => (await proposalRows(parts.store.db, open)).filter((row) => seesPolicy(scope, tagsOfProposal(row))),
    agree: (admin, deciding, before) =>
      parts.act(async (tx, at) => {
        await before?.(tx, at);
        return agreeProposal(tx, at, admin, deciding, { mayTouch, apply: applyProposal });
      }),
    decline: (admin, deciding, before) =>
      parts.act(async (tx, at) => {
        await before?.(tx, at);
        return declineProposal(tx, at, admin, deciding, { mayTouch });
      }),
    builtIn: builtInRules,
    async history(scope, wish) {
      const rows = await policyVersions(parts.store.db, { ...wish, limit: wish.limit + 1 });
      const last = rows.length > wish.limit ? rows[wish.limit - 1] : undefined;
      const items = rows.slice(0, wish.limit).map(versionOf);
      return { items: items.filter(({ tags }) => seesPolicy(scope, tags)), last: last ? { at: last.at, id: last.policy_id, version: last.version } : null };
    },
    async dryRun(scope, draft) {
      await fleetIsFresh(parts);
      return dryRun(parts, scope, draft);
    },
    async run() {
      for (let act = 0; act < mostEventActs && (await noticeEvents(parts)); act += 1);
      await noticeAges(parts, round);
      await placeAutomatic(parts);
    },
  };
}
