import type { z } from 'zod';
import { didYouMean } from '../shared/nearest-name.ts';
import { Problem } from '../shared/problem.ts';
import type { Fault } from '../shared/problem.ts';

/**
 * The query of a URL by its schema.
 * @throws Problem `invalid-request` with every fault by parameter name
 * @example readQuery(url().searchParams, z.strictObject({ topic: topicName.optional() }))
 */
export function readQuery<Shape extends z.ZodRawShape>(
  query: URLSearchParams,
  schema: z.ZodObject<Shape>,
): z.infer<z.ZodObject<Shape>> {
  const faults: Fault[] = [...new Set(query.keys())]
    .filter((name) => query.getAll(name).length > 1)
    .map((name) => ({ at: name.slice(0, 64), detail: 'This parameter is there more than once.' }));
  const parsed = schema.safeParse(Object.fromEntries(query));
  for (const issue of parsed.error?.issues ?? []) {
    if (issue.code !== 'unrecognized_keys') faults.push({ at: issue.path.join('.'), detail: issue.message });
    else {
      const known = Object.keys(schema.shape);
      faults.push(
        ...issue.keys.map((key) => ({
          at: key.slice(0, 64),
          detail: `There is no such parameter.${didYouMean(key, known)}`,
        })),
      );
    }
  }
  if (parsed.success && faults.length === 0) return parsed.data;
  const [first] = faults;
  throw new Problem('invalid-request', `${first?.at}: ${first?.detail}`, { faults: faults.slice(0, 20) });
}
