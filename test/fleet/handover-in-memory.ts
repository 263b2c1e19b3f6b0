/** What a SET keeps and gives away, in memory: the same rules as shared/store/postgres-handover.ts, for messages of lanes. */
import { fromUuid, toUuid, type MessageId } from '../../shared/identifier.ts';
import { Problem } from '../../shared/problem.ts';
import type { Tenure } from '../../shared/sets/tenure.ts';
import type { Goods, Handover, TakeOverPlan } from '../../shared/store/handover.ts';

interface Kept {
  readonly id: number;
  readonly lane: string;
  isDone: boolean;
}

interface Planned {
  readonly epoch: number;
  readonly plan: TakeOverPlan;
  isEnded: boolean;
}

export class HandoverInMemory {
  tenure: Tenure = { epoch: 0, state: 'serving' };
  private kept: Kept[] = [];
  private pending: number[] = [];
  private planned: Planned | undefined;

  get isFenced(): boolean {
    return this.tenure.state === 'fenced';
  }

  accept(lane: string, id: number): void {
    this.kept.push({ id, lane, isDone: false });
  }

  waitingOf(lane: string): readonly number[] {
    return this.kept.filter((each) => each.lane === lane && !each.isDone).map(({ id }) => id);
  }

  /** A host that is fenced gets nothing into the books. */
  record(id: number): void {
    const found = this.kept.find((each) => each.id === id);
    if (found && !this.isFenced) found.isDone = true;
  }

  fence(): number {
    if (!this.isFenced) this.tenure = { epoch: this.tenure.epoch + 1, state: 'fenced' };
    return this.tenure.epoch;
  }

  unfence(epoch: number): number {
    if (epoch !== this.tenure.epoch || this.pending.length > 0 || this.planned?.isEnded === false)
      throw new Problem('conflict', 'It is being taken over.');
    this.tenure = { epoch: epoch + 1, state: 'serving' };
    return this.tenure.epoch;
  }

  progress(): Awaited<ReturnType<Handover['progress']>> {
    const { tenure, pending, planned } = this;
    const isOfNow = planned?.epoch === tenure.epoch;
    const state = !isOfNow ? 'none' : planned.isEnded ? 'ended' : 'begun';
    return { tenure, pending: pending.length, state };
  }

  plan(wanted: TakeOverPlan): TakeOverPlan {
    if (!this.isFenced) throw new Problem('conflict', 'Fence it first.');
    if (this.planned?.epoch !== this.tenure.epoch) {
      this.planned = { epoch: this.tenure.epoch, plan: wanted, isEnded: false };
      this.pending = this.kept.filter(({ isDone }) => !isDone).map(({ id }) => id);
    }
    return this.planned.plan;
  }

  get lastPlan(): TakeOverPlan | undefined {
    return this.planned?.plan;
  }

  /** One at a time, so that a history may stop between any two. */
  next(): Goods {
    const leaving = this.kept.find(({ id }) => id === this.pending[0]);
    return { messages: leaving ? [departing(leaving)] : [], rows: {} };
  }

  takeIn({ messages }: Goods): void {
    if (this.isFenced) throw new Problem('set-fenced', 'It is fenced.');
    for (const { id, lane } of messages)
      if (!this.kept.some((each) => each.id === numberOf(id))) this.accept(lane ?? '', numberOf(id));
  }

  sendOff({ messages }: Goods): void {
    const gone = messages.map(({ id }) => numberOf(id)).filter((id) => this.pending.includes(id));
    this.pending = this.pending.filter((id) => !gone.includes(id));
    this.kept = this.kept.filter(({ id }) => !gone.includes(id));
  }

  end(): void {
    const { planned } = this;
    if (planned?.epoch === this.tenure.epoch && this.pending.length === 0) planned.isEnded = true;
  }
}

function departing({ id, lane }: Kept): Goods['messages'][number] {
  return { id: idOf(id), topic: 't', lane, stream: lane, mirror: null };
}

function idOf(id: number): MessageId {
  return fromUuid(`00000000-0000-7000-8000-${id.toString(16).padStart(12, '0')}`);
}

function numberOf(id: MessageId): number {
  return Number.parseInt(toUuid(id).slice(-12), 16);
}
