/** Reads what the management API answers. Nothing is trusted to be there: columns are absent until statistics exist. */

export type Fields = Readonly<Record<string, unknown>>;

/** Rows of a list; none when the list is not there. */
export function rowsOf(answer: unknown): readonly Fields[] {
  return Array.isArray(answer) ? answer.map(fieldsOf) : [];
}

/** An object's fields. Empty arguments come as `[]` from some versions. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** Tags and the like: a list, or in older versions one text with commas. */
export function textsOf(value: unknown): readonly string[] {
  const list = typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value.map(textOf) : [];
  return list.filter((text) => text !== '');
}

/** A text under its name when it says something; else nothing. */
export function given<Name extends string>(name: Name, value: unknown): { readonly [N in Name]?: string } {
  const text = textOf(value);
  return (text === '' || text === 'undefined' ? {} : { [name]: text }) as { readonly [N in Name]?: string };
}
