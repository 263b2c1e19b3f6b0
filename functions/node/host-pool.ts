/** The SET hosts that live in this process. */
import type { HostAtWork } from '../../scheduled/run-job.ts';
import type { Courier } from '../../shared/delivery/courier.ts';
import type { SetHost } from '../../shared/host/set-host.ts';
import { Problem } from '../../shared/problem.ts';
import { callLink, linkThrough, type SetLink } from '../../shared/sets/set-link.ts';
import { openHost, type World } from '../assemble.ts';

export interface HostPool {
  /** Opens and starts hosts of the SETs this process keeps, and stops those of SETs that are gone from the catalog. */
  refresh(): Promise<void>;
  /** Waits, at most `maxMs`, until the hosts can send. */
  ready(maxMs: number): Promise<void>;
  link(set: string): SetLink;
  /** Lets `work` use the SET's host, or one opened for it and stopped afterwards. */
  visit<T>(set: string, work: (host: HostAtWork) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export function createHostPool(world: World, courier: Courier): HostPool {
  const hosts = new Map<string, Promise<SetHost>>();
  /** Opened for a visit and not stopped yet. */
  const visited = new Set<SetHost>();
  let isStopped = false;
  const links = new Map<string, SetLink>();
  const kept = world.settings.SETWAY_HOSTED_SETS;
  const isKept = (set: string): boolean => kept.includes('*') || kept.includes(set);

  const keep = (set: string): Promise<SetHost> => {
    const known = hosts.get(set);
    if (known) return known;
    const opening = openHost(world, set, courier);
    hosts.set(set, opening);
    opening.then(
      (host) => host.start(),
      () => hosts.delete(set),
    );
    return opening;
  };

  const hostOf = async (set: string): Promise<SetHost> => {
    if (isKept(set)) return keep(set);
    throw new Problem(
      'set-unavailable',
      `No host of the SET "${set}" lives in this process (SETWAY_HOSTED_SETS).`,
    );
  };

  return {
    async refresh() {
      const { sets } = await world.catalog.current();
      await Promise.all([...sets.keys()].filter(isKept).map(keep));
      const gone = [...hosts].filter(([set]) => !sets.has(set));
      for (const [set] of gone) hosts.delete(set);
      // Fenced before it was retired: nothing is under way.
      await Promise.allSettled(gone.map(async ([, opening]) => (await opening).stop()));
    },
    async ready(maxMs) {
      const opened = await Promise.all(hosts.values());
      // A broker that is away delays what is sent, not the start.
      await Promise.allSettled(opened.map((host) => host.ready(maxMs)));
    },
    link(set) {
      const link =
        links.get(set) ?? linkThrough(async (call, args) => callLink(await hostOf(set), call, args));
      links.set(set, link);
      return link;
    },
    async visit(set, work) {
      if (isKept(set)) return work(await keep(set));
      const host = await openHost(world, set, courier);
      visited.add(host);
      try {
        if (isStopped) throw new Problem('set-unavailable', 'This process is stopping.');
        return await work(host);
      } finally {
        await host.stop();
        visited.delete(host);
      }
    },
    async stop() {
      isStopped = true;
      const opened = await Promise.allSettled(hosts.values());
      const alive = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      await Promise.all([...alive, ...visited].map((host) => host.stop()));
    },
  };
}
