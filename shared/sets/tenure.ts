/** Whether the hosts of a SET may work in one of its databases. */
export interface Tenure {
  /** Grows by one with each change: whoever knows an older one changes nothing. */
  readonly epoch: number;
  /** `draining`: takes nothing new, works off what it has; `fenced`: does nothing. */
  readonly state: 'serving' | 'draining' | 'fenced';
}

export type TenureState = Tenure['state'];

/** What a host learns when it says that it lives. */
export interface Beat {
  /** Live hosts of the SET, this one included. */
  readonly hosts: number;
  readonly tenure: TenureState;
}
