/** Colours for a terminal that shows them; the same words without for a file, a pipe, or NO_COLOR (https://no-color.org). */
import { styleText } from 'node:util';

export interface Paint {
  readonly isColoured: boolean;
  /** Text in the colour of a SET. */
  set(set: string, text: string): string;
  /** The SET itself: its colour turned inside out. */
  badge(set: string, text: string): string;
  faint(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

const colours = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red'] as const;

/** @param sets in the order that gives them their colours */
export function createPaint(sets: readonly string[], stream: NodeJS.WriteStream): Paint {
  const isColoured = stream.isTTY && stream.hasColors();
  const style = (format: Parameters<typeof styleText>[0], text: string): string =>
    isColoured ? styleText(format, text, { validateStream: false }) : text;
  const colourOf = (set: string): (typeof colours)[number] =>
    colours[sets.indexOf(set) % colours.length] ?? 'red';
  return {
    isColoured,
    set: (set, text) => style(colourOf(set), text),
    badge: (set, text) => style(['bold', 'inverse', colourOf(set)], text),
    faint: (text) => style('dim', text),
    good: (text) => style('green', text),
    bad: (text) => style(['bold', 'red'], text),
  };
}
