/** A group's courier is a double that answers when told: which member is called is a decision of this file alone. */
import { describe, expect, it } from 'vitest';
import type { Answer, Courier, Dispatch } from '../../shared/delivery/courier.ts';
import { withMembers } from '../../shared/delivery/members.ts';
import type { MessageId } from '../../shared/identifier.ts';
import { FakeClock } from '../consumer/fake-clock.ts';

const done: Answer = { verdict: 'done', status: 200, error: null, durationMs: 1 };
const busy: Answer = { verdict: 'retry', status: 503, error: 'HTTP 503', durationMs: 1 };
const gone: Answer = { verdict: 'disable', status: 410, error: 'HTTP 410', durationMs: 1 };

/** Two members; each call waits until the test answers it. */
function openGroup() {
  const clock = new FakeClock();
  const calls: { readonly member: string; readonly answer: (answer: Answer) => void }[] = [];
  const courier = {
    sliceSize: 50,
    carry: (slice: readonly Dispatch[]) =>
      Promise.all(
        slice.map(({ endpoint }) => {
          const answered = Promise.withResolvers<Answer>();
          calls.push({ member: 'function' in endpoint ? endpoint.function : '', answer: answered.resolve });
          return answered.promise;
        }),
      ),
  } as Pick<Courier, 'sliceSize' | 'carry'> as Courier;
  const group = withMembers(courier, clock, () => true);
  const send = (id: string) =>
    group.carry([
      {
        message: { id: id as MessageId },
        endpoint: { function: 'a' },
        members: [{ function: 'b' }],
      } as unknown as Dispatch,
    ]);
  const answerNext = async (member: string, answer: Answer): Promise<void> => {
    const at = calls.findIndex((call) => call.member === member);
    calls.splice(at, 1)[0]?.answer(answer);
    await Promise.resolve();
  };
  const underWay = (): string => calls.map(({ member }) => member).join('');
  return { clock, group, send, answerNext, underWay };
}

describe('the members of a group', () => {
  it('get what they are free for: the fast one takes more', async () => {
    const { group, send, answerNext, underWay } = openGroup();
    expect(group.sliceSize).toBe(1);
    void send('1');
    void send('2');
    expect(underWay()).toBe('ab');
    for (const id of ['3', '4', '5']) {
      await answerNext('a', done);
      await new Promise(setImmediate);
      void send(id);
    }
    // The slow one has had one, the fast one all the others.
    expect(underWay()).toBe('ba');
  });

  it('are avoided after a failure, longer each time, and their message goes elsewhere', async () => {
    const { clock, send, answerNext, underWay } = openGroup();
    const first = send('1');
    await answerNext('a', busy);
    expect(await first).toEqual([busy]);
    void send('1');
    void send('2');
    expect(underWay()).toBe('bb');
    await clock.move(1_000);
    // Free again, but not for the message it failed.
    void send('3');
    expect(underWay()).toBe('bba');
  });

  it('leave one by one: a 410 is one member’s, until it is the last one’s', async () => {
    const { send, answerNext } = openGroup();
    const first = send('1');
    await answerNext('a', gone);
    expect(await first).toMatchObject([{ verdict: 'retry', status: 410 }]);
    const second = send('2');
    await answerNext('b', gone);
    expect(await second).toMatchObject([{ verdict: 'disable' }]);
  });
});
