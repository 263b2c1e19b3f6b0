/** What the OpenAPI document says about schedules, and what a client may ask for. */
import { z } from 'zod';
import { messageKey, messageTag, publishSchema, setName, topicName } from '../shared/message/draft-schema.ts';
import { messageId } from './answer-schemas.ts';
import { bearerSecurity, described, describedProblems } from './describe.ts';
import type { Door } from './door.ts';

const scheduleId = z.string().meta({ example: 'sch_01h455vb4pex5vsknk084sn02q' });
const missed = z.enum(['skip', 'one', 'all']);
const cron = z
  .string()
  .max(128, 'At most 128 characters.')
  .meta({ description: 'Five fields, or six with seconds first.', example: '0 9 * * MON-FRI' });
const timeZone = z
  .string()
  .max(64, 'At most 64 characters.')
  .meta({ description: 'IANA time zone.', example: 'Europe/Berlin' });
const name = z.string().min(1).max(128, 'At most 128 characters.');

/** The message is read by the same rules as a publish. */
export const scheduleRequest = z
  .strictObject({
    name: name.optional(),
    cron,
    timeZone: timeZone.optional().meta({ default: 'UTC' }),
    missed: missed.optional().meta({
      default: 'one',
      description: 'Ticks nobody was there for: left out, one message for them all, or one each.',
    }),
    message: z.unknown(),
  })
  .meta({ id: 'ScheduleRequest' });

const scheduleBody = scheduleRequest.extend({ message: publishSchema }).meta({ id: 'Schedule' });

const scheduleSchema = z
  .object({
    id: scheduleId,
    name: z.string().nullable(),
    cron,
    timeZone,
    missed,
    state: z.enum(['active', 'paused']),
    set: setName,
    message: z.object({
      topic: topicName,
      tag: messageTag.nullable(),
      key: messageKey.nullable(),
      size: z.int().meta({ description: 'Bytes of the body.' }),
    }),
    nextTimes: z.array(z.iso.datetime()).meta({ description: 'The next five; none while it is paused.' }),
    lastRuns: z
      .array(z.object({ tick: z.iso.datetime(), message: messageId, at: z.iso.datetime() }))
      .meta({ description: 'The newest first, at most twenty.' }),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'ScheduleState' });

const problems = ['unauthenticated', 'forbidden', 'not-found', 'internal', 'set-unavailable'] as const;
const shared = { tags: ['schedules'], security: bearerSecurity };
const one = { ...shared, request: { params: z.object({ id: scheduleId }) } };
const shown = { 200: described('The schedule.', scheduleSchema), ...describedProblems(...problems) };

export const createScheduleDescription: Door['description'] = {
  ...shared,
  method: 'post',
  path: '/v1/schedules',
  operationId: 'createSchedule',
  summary: 'Publish a message at every tick of a cron expression',
  request: {
    headers: z.object({
      'Idempotency-Key': z
        .string()
        .regex(/^[\x21-\x7e]{1,255}$/)
        .optional()
        .meta({ description: 'A repeat with the same key is the same schedule.', example: 'daily-report' }),
    }),
    body: {
      required: true,
      content: {
        'application/json': {
          schema: scheduleBody,
          example: {
            name: 'daily report',
            cron: '0 9 * * MON-FRI',
            timeZone: 'Europe/Berlin',
            missed: 'one',
            message: { topic: 'reports', body: { kind: 'daily' } },
          },
        },
      },
    },
  },
  responses: {
    201: described('Made.', scheduleSchema, { headers: { Location: 'Where it can be looked up.' } }),
    ...describedProblems(
      'invalid-json',
      ...problems,
      'conflict',
      'too-large',
      'unsupported-media-type',
      'invalid-request',
      'destination-refused',
      'key-reused',
    ),
  },
};

export const listSchedulesDescription: Door['description'] = {
  ...shared,
  method: 'get',
  path: '/v1/schedules',
  operationId: 'listSchedules',
  summary: 'List schedules',
  responses: {
    200: described(
      'All schedules, the oldest first.',
      z.object({
        schedules: z.array(scheduleSchema),
        incomplete: z.array(setName).meta({ description: 'SETs that did not answer.' }),
      }),
    ),
    ...describedProblems('unauthenticated', 'forbidden', 'internal'),
  },
};

export const readScheduleDescription: Door['description'] = {
  ...one,
  method: 'get',
  path: '/v1/schedules/{id}',
  operationId: 'readSchedule',
  summary: 'See a schedule, its next times and its last runs',
  responses: shown,
};

export const deleteScheduleDescription: Door['description'] = {
  ...one,
  method: 'delete',
  path: '/v1/schedules/{id}',
  operationId: 'deleteSchedule',
  summary: 'Delete a schedule; what it published stays',
  responses: shown,
};

export const pauseScheduleDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/schedules/{id}/pause',
  operationId: 'pauseSchedule',
  summary: 'Pause a schedule',
  responses: shown,
};

export const resumeScheduleDescription: Door['description'] = {
  ...one,
  method: 'post',
  path: '/v1/schedules/{id}/resume',
  operationId: 'resumeSchedule',
  summary: 'Resume a schedule; the ticks of its pause are not missed',
  responses: shown,
};
