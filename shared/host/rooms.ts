/**
 * How much due work each subscription may have claimed on this host at once: a slow one keeps its own room and leaves the
 * others theirs, and one whose breaker is open, or whose rate is used up, gets none until that is over.
 */
import type { AgendaKind, Rooms } from '../agenda/agenda.ts';
import type { Deliverer } from '../delivery/deliver.ts';
import type { Held } from './due-loop.ts';
import type { HostView } from './host-view.ts';

export interface RoomParts {
  readonly view: Pick<HostView, 'active'>;
  readonly deliverer: Pick<Deliverer, 'room'>;
  /** There will be room after this long. */
  readonly onDue: (afterMs: number, kind: AgendaKind) => void;
}

/** Well below what a host claims in all (due-handlers.ts), so that many may hang at once. */
const most = { redeliver: 32, order: 250 } as const;
/** Streams are loaded while others are called. */
const perSlot = { redeliver: 1, order: 2 } as const;
/** Of the usual concurrency of 32, and of one that this host does not know: the exceptions are named one by one. */
const usual = { redeliver: 32, order: 64 } as const;

export function createRooms(parts: RoomParts): (kind: 'redeliver' | 'order') => (held: Held) => Rooms {
  return (kind) => (held) => {
    const except: Record<string, number> = {};
    const note = (name: string, total: number): void => {
      const room = Math.max(0, total - (held.get(name) ?? 0));
      if (room !== usual[kind]) except[name] = room;
    };
    for (const name of held.keys()) note(name, usual[kind]);
    for (const { name } of parts.view.active()) {
      const room = parts.deliverer.room(name);
      if ('againInMs' in room) {
        parts.onDue(room.againInMs, kind);
        except[name] = 0;
      } else note(name, Math.min(room.now * perSlot[kind], most[kind]));
    }
    return { each: usual[kind], except };
  };
}
