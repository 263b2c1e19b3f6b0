/** Whether a host may work: as its last heartbeat, or a refusal since, has told of its SET's tenure. */
import type { TenureState } from '../sets/tenure.ts';

export interface Standing {
  readonly isFenced: boolean;
  /** Told with each heartbeat. */
  readonly onTenure: (tenure: TenureState) => void;
  /** A statement was refused. */
  readonly onFenced: () => void;
}

/** @param onChange what was in hand gets into no book any more, or what waited is due now */
export function createStanding(onChange: () => void): Standing {
  let known: TenureState = 'serving';
  const onTenure = (tenure: TenureState): void => {
    const before = known;
    known = tenure;
    if (before !== tenure) onChange();
  };
  return {
    get isFenced() {
      return known === 'fenced';
    },
    onTenure,
    onFenced: () => onTenure('fenced'),
  };
}
