/** "Did you mean …?": the known name that is the fewest edits away from a wrong one. */

/** Longer names are not compared: the work grows with the product of the lengths. */
const longestName = 64;

/**
 * The nearest of `names`, if at most a third of its letters (and at least one) differ.
 * @example nearestName('hangzou', ['hangzhou', 'frankfurt']) // 'hangzhou'
 */
export function nearestName(wrong: string, names: Iterable<string>): string | undefined {
  if (wrong.length > longestName) return undefined;
  let nearest: string | undefined;
  let fewest = Infinity;
  for (const name of names) {
    if (name.length > longestName) continue;
    const edits = editDistance(wrong.toLowerCase(), name.toLowerCase());
    if (edits < fewest && edits <= Math.max(1, Math.floor(name.length / 3))) {
      fewest = edits;
      nearest = name;
    }
  }
  return nearest;
}

/** ` Did you mean "hangzhou"?`, or nothing: to be appended to a problem's detail. */
export function didYouMean(wrong: string, names: Iterable<string>): string {
  const name = nearestName(wrong, names);
  return name === undefined ? '' : ` Did you mean "${name}"?`;
}

/** Levenshtein distance, one row at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
