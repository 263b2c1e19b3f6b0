/**
 * The members of a consumer group: several endpoints of one subscription that share its deliveries, the able more than
 * the slow. Each call goes to the member with the fewest calls under way, on this host.
 *
 *   free ──no answer, 429 or 5xx──▶ avoided for 1 s, 2 s, 4 s … 60 s ──time over──▶ free; a success forgets it all
 *        └──410 Gone──▶ avoided for an hour, and the delivery tried elsewhere, while other members are free
 *
 * A retry prefers another member than the one that failed it. With all of them avoided, the one whose time is over first
 * is called: a group is never stopped here, that is for its breaker.
 */
import type { Clock } from '../clock.ts';
import type { Endpoint } from '../subscriptions/subscription.ts';
import type { Answer, Courier, Dispatch } from './courier.ts';

const firstAvoidMs = 1_000;
const longestAvoidMs = 60_000;
const goneMs = 3_600_000;
/** Failed deliveries whose member is remembered. */
const maxFailed = 10_000;

interface Member {
  underWay: number;
  failures: number;
  avoidedUntilMs: number;
}

/** A courier for one subscription on one host. */
export function withMembers(courier: Courier, clock: Clock, isGroup: () => boolean): Courier {
  const members = new Map<string, Member>();
  const failedBy = new Map<string, string>();

  const memberOf = (endpoint: Endpoint): Member => {
    const name = nameOf(endpoint);
    const known = members.get(name) ?? { underWay: 0, failures: 0, avoidedUntilMs: 0 };
    members.set(name, known);
    return known;
  };

  const choose = (dispatch: Dispatch, endpoints: readonly Endpoint[]): Endpoint => {
    const nowMs = clock.nowMs();
    const failed = failedBy.get(dispatch.message.id);
    const rankOf = (endpoint: Endpoint): readonly number[] => {
      const { avoidedUntilMs, underWay } = memberOf(endpoint);
      return [Math.max(0, avoidedUntilMs - nowMs), nameOf(endpoint) === failed ? 1 : 0, underWay];
    };
    return endpoints.reduce((best, each) => (isBefore(rankOf(each), rankOf(best)) ? each : best));
  };

  const learn = (endpoint: Endpoint, { message }: Dispatch, answer: Answer | undefined): void => {
    const member = memberOf(endpoint);
    failedBy.delete(message.id);
    if (answer && !isFailure(answer)) return void (member.failures = 0);
    const waitMs = Math.min(longestAvoidMs, firstAvoidMs * 2 ** Math.min(member.failures++, 10));
    member.avoidedUntilMs = clock.nowMs() + (answer?.verdict === 'disable' ? goneMs : waitMs);
    if (failedBy.size >= maxFailed) failedBy.clear();
    failedBy.set(message.id, nameOf(endpoint));
  };

  const carryOne = async (dispatch: Dispatch): Promise<Answer> => {
    const { members: others = [], ...rest } = dispatch;
    const endpoints = [dispatch.endpoint, ...others];
    const endpoint = choose(dispatch, endpoints);
    const member = memberOf(endpoint);
    member.underWay++;
    const answers = await courier
      .carry([{ ...rest, endpoint }])
      .finally(() => member.underWay--)
      .catch((error: unknown) => {
        learn(endpoint, dispatch, undefined);
        throw error;
      });
    const [answer] = answers;
    if (!answer) throw new RangeError('The courier brought back no answer.');
    learn(endpoint, dispatch, answer);
    const isOneFree = endpoints.some((each) => memberOf(each).avoidedUntilMs <= clock.nowMs());
    return answer.verdict === 'disable' && isOneFree ? { ...answer, verdict: 'retry' } : answer;
  };

  return {
    ...courier,
    // A slice ends with its slowest call: members would wait for each other.
    get sliceSize() {
      return isGroup() ? 1 : courier.sliceSize;
    },
    carry: (slice) => (isGroup() ? Promise.all(slice.map(carryOne)) : courier.carry(slice)),
  };
}

function nameOf(endpoint: Endpoint): string {
  return 'url' in endpoint ? endpoint.url : endpoint.function;
}

function isBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

/** It is the member's, not the message's: another member may take it. */
function isFailure({ status, verdict }: Answer): boolean {
  return (
    verdict === 'disable' || (verdict === 'retry' && (status === null || status === 429 || status >= 500))
  );
}
