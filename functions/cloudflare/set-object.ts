/**
 * A Durable Object around a SET host; its name is the SET's id.
 *
 * An object lives as long as something goes on in it, so the host works in shifts: the alarm keeps the object awake for
 * one shift, arms the next one first, and begins with fresh platform limits. Whatever ends the object in between (a
 * deploy, an eviction, a crash), the next alarm or call opens the host anew, and the broker and the agenda hand out
 * again what was under way.
 */
import { DurableObject } from 'cloudflare:workers';
import type { AgendaKind } from '../../shared/agenda/agenda.ts';
import type { Courier, Dispatch } from '../../shared/delivery/courier.ts';
import type { Budget } from '../../shared/host/due-work.ts';
import type { Message } from '../../shared/message/message.ts';
import type { SetHost } from '../../shared/host/set-host.ts';
import { Problem, toProblemData, type ProblemData } from '../../shared/problem.ts';
import { callLink, type SetLinkCall } from '../../shared/sets/set-link.ts';
import { openHost } from '../assemble.ts';
import { worldOf, type Env } from './world.ts';

/** Errors lose their class over RPC: an answer is a value or a problem as data. */
export type Reply<T> = { readonly value: T } | { readonly problem: ProblemData };

/** Well below the 15 minutes an alarm may take. */
const shiftMs = 5 * 60_000;
/** An invocation may have six connections waiting for headers: a slice is carried by an invocation of its own. */
const sliceSize = 6;

export class SetObject extends DurableObject<Env> {
  #host: Promise<SetHost> | undefined;

  /** A call of the SET's link. */
  call(name: SetLinkCall, args: readonly unknown[]): Promise<Reply<unknown>> {
    return this.#reply((host) => callLink(host, name, args));
  }

  handleDue(kind: AgendaKind, budget: Budget): Promise<Reply<number>> {
    return this.#reply((host) => host.handleDue(kind, budget));
  }

  /** The host that lives here consumes all the time: waking it is all there is to do. */
  shift(): Promise<Reply<number>> {
    return this.#reply(() => Promise.resolve(0));
  }

  backlog(): Promise<Reply<Readonly<Record<string, number>>>> {
    return this.#reply((host) => host.backlog());
  }

  override async alarm(): Promise<void> {
    if (await this.#isRetired()) return this.#stop();
    await this.ctx.storage.setAlarm(Date.now() + shiftMs);
    // A host that cannot be opened now (no catalog, say) is tried again by the next alarm or call.
    await this.#opened().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, shiftMs - 1_000));
  }

  async #reply<T>(work: (host: SetHost) => Promise<T>): Promise<Reply<T>> {
    try {
      return { value: await work(await this.#opened()) };
    } catch (error) {
      return { problem: toProblemData(error) };
    }
  }

  /** Gone from the catalog: no alarm is armed any more. One that cannot be read says nothing. */
  async #isRetired(): Promise<boolean> {
    const set = this.ctx.id.name ?? '';
    const catalog = await worldOf(this.env)
      .catalog.current()
      .catch(() => undefined);
    return catalog !== undefined && !catalog.sets.has(set);
  }

  async #stop(): Promise<void> {
    const host = this.#host;
    this.#host = undefined;
    await host?.then((opened) => opened.stop()).catch(() => undefined);
  }

  #opened(): Promise<SetHost> {
    this.#host ??= this.#open().catch((error: unknown) => {
      this.#host = undefined;
      throw error;
    });
    return this.#host;
  }

  async #open(): Promise<SetHost> {
    const set = this.ctx.id.name;
    if (set === undefined)
      throw new Problem('internal', 'A SET object must be addressed by the name of its SET.');
    const host = await openHost(worldOf(this.env), set, this.#courier());
    host.start();
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now());
    return host;
  }

  #courier(): Courier {
    const { CourierEntrypoint } = this.ctx.exports;
    return {
      sliceSize,
      carry: async (slice) => CourierEntrypoint.carry(slice.map(detached)),
      ask: async (check) => CourierEntrypoint.ask(check),
      tell: async (notice) => CourierEntrypoint.tell(notice),
    };
  }
}

/** A body is a view into a whole socket read, and a structured clone takes all of what a view looks into. */
function detached(dispatch: Dispatch): Dispatch {
  const ofItsOwn = (message: Message): Message => ({ ...message, body: new Uint8Array(message.body) });
  const items = dispatch.items?.map((item) => ({ ...item, message: ofItsOwn(item.message) }));
  return { ...dispatch, message: ofItsOwn(dispatch.message), ...(items ? { items } : {}) };
}
