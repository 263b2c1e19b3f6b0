import { forEachSet, type Job } from './run-job.ts';

/** Makes the coming days' partitions and drops those behind the retention. */
export const prune: Job = {
  name: 'prune',
  run: (parts) =>
    forEachSet(parts, async (set) => {
      const { stores } = await parts.databases(set);
      const rotated = await Promise.all(stores.map((store) => store.rotate(parts.retention)));
      return rotated.reduce((sum, { made, dropped }) => sum + made + dropped, 0);
    }),
};
