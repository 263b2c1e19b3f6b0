/**
 * The contract of a SET's register: which hosts live, which subscriptions this SET has stopped by itself, and what its
 * hosts have declared in RabbitMQ.
 */
import type { Stop } from '../sets/set-link.ts';
import type { Beat } from '../sets/tenure.ts';
import type { Declared } from '../topology/plan.ts';

/** What a webhook answered to one host since its last report. */
export interface AnswerCount {
  readonly subscription: string;
  readonly successes: number;
  readonly failures: number;
  /** The last one. */
  readonly error: string | null;
}

/** A webhook from which nothing but failures have come. */
export interface Failing {
  readonly subscription: string;
  readonly forMs: number;
  readonly failures: number;
  readonly error: string | null;
}

export interface Register {
  /** Says that this host lives, how its broker is, and how many messages a second it takes. */
  beat(broker: string, rate: number): Promise<Beat>;
  /** Messages a second that all live hosts of this SET take; undefined when none has said. */
  rate(): Promise<number | undefined>;
  /** This host stops. */
  leave(): Promise<void>;
  /**
   * Says what webhooks answered since the last report. A success of any host ends a failure.
   * @returns those that go on failing
   */
  reportAnswers(answers: readonly AnswerCount[]): Promise<readonly Failing[]>;
  disabled(): Promise<ReadonlyMap<string, Stop>>;
  disable(subscription: string, reason: string): Promise<void>;
  /** Lets a subscription go on that this SET had stopped. */
  enable(subscription: string): Promise<void>;
  /** Since when the subscriptions of this SET are there, in Unix milliseconds; see `subscribedSince`. */
  subscribedSince(): Promise<ReadonlyMap<string, number>>;
  /** Notes what is about to be declared; what is known stays as it is. Returns everything that is noted. */
  note(declared: readonly Declared[]): Promise<readonly Declared[]>;
  /** It was taken down. */
  forget(declared: readonly Declared[]): Promise<void>;
}
