/**
 * A map of the world in text: every city that ordered is a dot in the colour of its SET, and the SETs are letters. The
 * cities draw the continents.
 *
 * With colours a character holds 2 × 4 braille dots (Unicode U+2800, one bit per dot); without, it is the small letter
 * of the SET most of its orders went to. The projection is equirectangular: degrees are columns and rows.
 */
import type { Paint } from './paint.ts';

export interface MapPoint {
  readonly latitude: number;
  readonly longitude: number;
}

export interface MapOrder extends MapPoint {
  readonly set: string;
}

export interface MapSet extends MapPoint {
  readonly id: string;
}

export interface WorldMap {
  readonly sets: readonly MapSet[];
  readonly orders: readonly MapOrder[];
  /** Drawn faintly where nobody ordered. */
  readonly cities: readonly MapPoint[];
}

/** From Tromsø to Cape Horn. */
const north = 72;
const south = -56;
/** A character is about twice as high as wide. */
const degreesPerRow = (columns: number): number => (360 / columns) * 2;

interface Cell {
  /** Braille bits. */
  bits: number;
  readonly orders: Map<string, number>;
  letter: string | undefined;
}

/**
 * @param columns width in characters
 * @returns lines without a trailing newline
 */
export function drawWorld(world: WorldMap, columns: number, paint: Paint): readonly string[] {
  const rows = Math.ceil((north - south) / degreesPerRow(columns));
  const cells = Array.from({ length: rows }, () =>
    Array.from({ length: columns }, (): Cell => ({ bits: 0, orders: new Map(), letter: undefined })),
  );
  const cellAt = (point: MapPoint): { cell: Cell; bit: number } | undefined => {
    const x = Math.floor(((point.longitude + 180) / 360) * columns * 2);
    const y = Math.floor(((north - point.latitude) / degreesPerRow(columns)) * 4);
    const cell = cells[Math.floor(y / 4)]?.[Math.floor(x / 2)];
    return cell && { cell, bit: dotBits[y % 4]?.[x % 2] ?? 0 };
  };
  for (const city of world.cities) {
    const place = cellAt(city);
    if (place) place.cell.bits |= place.bit;
  }
  for (const order of world.orders) {
    const place = cellAt(order);
    if (!place) continue;
    place.cell.bits |= place.bit;
    place.cell.orders.set(order.set, (place.cell.orders.get(order.set) ?? 0) + 1);
  }
  for (const set of world.sets) {
    const place = cellAt(set);
    if (place) place.cell.letter = set.id;
  }
  return cells.map((row) =>
    row
      .map((cell) => drawCell(cell, paint))
      .join('')
      .trimEnd(),
  );
}

/** https://www.unicode.org/charts/PDF/U2800.pdf: dots 1-2-3-7 on the left, 4-5-6-8 on the right. */
const dotBits = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

function drawCell({ bits, orders, letter }: Cell, paint: Paint): string {
  if (letter !== undefined) return paint.badge(letter, letterOf(letter));
  if (bits === 0) return ' ';
  const [most] = [...orders].sort(([, a], [, b]) => b - a);
  const braille = String.fromCodePoint(0x2800 + bits);
  if (most === undefined) return paint.isColoured ? paint.faint(braille) : '.';
  return paint.isColoured ? paint.set(most[0], braille) : letterOf(most[0]).toLowerCase();
}

/** @example letterOf('hangzhou') // 'H' */
export function letterOf(set: string): string {
  return set.slice(0, 1).toUpperCase();
}
