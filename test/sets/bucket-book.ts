/** What a SET's database keeps of some buckets, in memory: the same rules as shared/store/bucket-admission.ts. */
import type { BucketSpan, Holding } from '../../shared/sets/ownership.ts';

export class BucketBookInMemory {
  private readonly rows = new Map<number, { readonly epoch: number; readonly isOpen: boolean }>();
  private readonly buckets: readonly number[];
  private isGiven = false;

  /** @param buckets those that are looked at */
  constructor(buckets: readonly number[]) {
    this.buckets = buckets;
  }

  open(holdings: readonly Omit<Holding, 'set'>[]): void {
    this.isGiven ||= holdings.length > 0;
    for (const { from, to, epoch } of holdings)
      for (const bucket of this.within({ from, to }))
        if ((this.rows.get(bucket)?.epoch ?? -1) < epoch) this.rows.set(bucket, { epoch, isOpen: true });
  }

  close({ epoch, ...span }: BucketSpan & { readonly epoch: number }): void {
    for (const bucket of this.within(span)) {
      const row = this.rows.get(bucket);
      if (row && row.epoch < epoch) this.rows.set(bucket, { ...row, isOpen: false });
    }
  }

  closeAllBut(holdings: readonly Omit<Holding, 'set'>[]): void {
    for (const [bucket, row] of this.rows) {
      const isHeld = holdings.some(
        ({ from, to, epoch }) => from <= bucket && bucket <= to && row.epoch >= epoch,
      );
      if (!isHeld) this.rows.set(bucket, { ...row, isOpen: false });
    }
  }

  /** One that was never given a bucket admits everything. */
  admits({ bucket, epoch }: { readonly bucket: number; readonly epoch: number }): boolean {
    const row = this.rows.get(bucket);
    return !this.isGiven || (row?.isOpen === true && row.epoch === epoch);
  }

  private within({ from, to }: BucketSpan): readonly number[] {
    return this.buckets.filter((bucket) => from <= bucket && bucket <= to);
  }
}
