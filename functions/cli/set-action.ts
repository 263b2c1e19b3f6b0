/** One action of `setway sets`. */
export interface SetAction {
  /** How it is called, such as `drain ID`. */
  readonly usage: string;
  /** What it does, in lines of at most 80 characters. */
  readonly help: readonly string[];
  readonly run: (args: readonly string[], print: (text: string) => void) => Promise<void>;
}
