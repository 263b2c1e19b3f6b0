/** Carries one slice of deliveries in an invocation of its own, with its own limits. */
import { WorkerEntrypoint } from 'cloudflare:workers';
import type {
  Answer,
  Check,
  CheckAnswer,
  Dispatch,
  Notice,
  NoticeAnswer,
} from '../../shared/delivery/courier.ts';
import { courierOf, type Env } from './world.ts';

export class CourierEntrypoint extends WorkerEntrypoint<Env> {
  async carry(slice: readonly Dispatch[]): Promise<readonly Answer[]> {
    return courierOf(this.env).carry(slice);
  }

  async ask(check: Check): Promise<CheckAnswer> {
    return courierOf(this.env).ask(check);
  }

  async tell(notice: Notice): Promise<NoticeAnswer> {
    return courierOf(this.env).tell(notice);
  }
}
