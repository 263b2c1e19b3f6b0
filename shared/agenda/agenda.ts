/**
 * The agenda: due work, in one narrow table per database. Everything that happens later stands there, and every cron
 * is the same three steps: *claim* up to N due entries of one kind, *handle* them, *finish* them.
 *
 * A claim takes a new lease token from a sequence and pushes the entry's due time behind the lease. Whoever dies with
 * a claim leaves it to fall due again; whoever comes late holds an old token and changes nothing. So two crons, a cron
 * and a live host, or a stale worker do no harm. Only the database's clock decides what is due.
 */
import type { MessageId } from '../identifier.ts';

/**
 * `send`: messages to publish until the broker confirms; `redeliver`: a delivery to try again; `release`: scheduled
 * messages that fall due; `order`: a stream of a subscription that has something to do, where a claim is the exclusive
 * lease of the stream; `redrive`: the next step of a redrive; `check`: a transaction whose producer is to be asked;
 * `schedule`: a tick; `gap`: a gap of a sequence that its callback is to be told of;
 * `callback`: an end of a delivery that somebody is to be told of.
 */
export type AgendaKind =
  | 'send'
  | 'redeliver'
  | 'release'
  | 'order'
  | 'redrive'
  | 'check'
  | 'schedule'
  | 'gap'
  | 'callback';

/** A claimed entry. `entry` and `token` prove the claim; large integers as text. */
export interface Lease {
  readonly entry: string;
  readonly token: string;
}

export interface DueEntry extends Lease {
  readonly kind: AgendaKind;
  readonly refs: readonly MessageId[];
  readonly subscription: string | null;
  /** Only of kind `order`. */
  readonly stream: string | null;
  /** How often this was tried before. */
  readonly attempts: number;
  /** How long ago it fell due. */
  readonly lateMs: number;
}

/** How many entries of each subscription a claim may take. */
export interface Rooms {
  readonly each: number;
  /** By name, where it is another number; 0: none. */
  readonly except: Readonly<Record<string, number>>;
}

export interface ClaimOptions {
  readonly set: string;
  readonly kind: AgendaKind;
  readonly limit: number;
  /** Longer than the handling can take. */
  readonly leaseMs: number;
  /** Present: fair among subscriptions, for kinds whose entries have one. */
  readonly rooms?: Rooms | undefined;
}

export interface Agenda {
  claim(options: ClaimOptions): Promise<readonly DueEntry[]>;
  /** Milliseconds until the next entry of these kinds falls due: 0 or less when one is due; undefined when there is none. With rooms: of one kind, and of the subscriptions that have room. */
  nextDueInMs(set: string, kinds: readonly AgendaKind[], rooms?: Rooms): Promise<number | undefined>;
  /** Removes entries whose work is done. */
  finish(leases: readonly Lease[]): Promise<void>;
  /** Gives claimed entries back, due again after `afterMs`, without counting an attempt. */
  release(leases: readonly Lease[], afterMs: number): Promise<void>;
}
