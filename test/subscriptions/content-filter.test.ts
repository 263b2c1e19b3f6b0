import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import {
  compileFilter,
  isFault,
  maxFilteredBodyBytes,
  maxFilteredValues,
  type FilteredMessage,
} from '../../shared/subscriptions/content-filter.ts';

function messageWith(body: unknown, more: Partial<FilteredMessage> = {}): FilteredMessage {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const headers = { 'x-region': 'eu', 'x-priority': '5' };
  const shared = { topic: 'orders', tag: 'eu.created', key: 'user-7', headers };
  return { ...shared, contentType: 'application/json', body: Buffer.from(text), ...more };
}

function hears(condition: string, message: FilteredMessage): boolean {
  const compiled = compileFilter(condition);
  if (isFault(compiled)) throw new Error(`${condition} at ${compiled.position}: ${compiled.detail}`);
  return compiled(message);
}

const order = {
  total: 150,
  paid: true,
  city: 'Berlin',
  note: null,
  items: [
    { sku: 'tea', tags: ['hot'] },
    { sku: 'book-1', tags: [] },
  ],
};

describe('the filter of a subscription', () => {
  it.each([
    ['topic == "orders" && tag.startsWith("eu.") && key == "user-7"', true],
    ['headers["x-region"] == "eu"', true],
    ['headers["x-region"] in ["us", "cn"]', false],
    ['int(headers["x-priority"]) > 3', true],
    ['contentType.contains("json")', true],
    ['body.total >= 100', true],
    ['body.total == 150 && body.total in [150, 151]', true],
    ['int(body.total) % 2 == 1', false],
    ['body.paid', true],
    ['!body.paid || body.city.lowerAscii() == "berlin"', true],
    ['body.note == null', true],
    ['has(body.city) && !has(body.country)', true],
    ['body.items.exists(item, item.sku.startsWith("book-"))', true],
    ['body.items.all(item, item.tags.exists(tag, tag == "hot"))', false],
    ['body.items.filter(item, size(item.tags) > 0).size() == 1', true],
    ['body["city"].size() == 6 && body.items[0].sku == "tea"', true],
    ['body.items[0] == body.items[1]', false],
  ])('%s is %s', (condition, expected) => {
    expect(hears(condition, messageWith(order))).toBe(expected);
  });

  it.each([
    'body.country == "de"',
    'body.country != "de"',
    'body.total == "150"',
    'body.total.contains("1")',
    'body.city > 3',
    'body.items.exists(item, item.price > 3)',
    'body.city.exists(letter, letter == "B")',
    'body.items[9].sku == "tea"',
    'body.country.code == "de"',
    'has(body.country.code)',
    'body.total',
    'headers["x-none"] == "eu"',
    'int(headers["x-region"]) > 3',
    'body.total / 0 > 1',
    'body.toString == body.toString',
    'body.__proto__ == body.__proto__',
  ])('a missing field or a wrong type is false, never an error: %s', (condition) => {
    expect(hears(condition, messageWith(order))).toBe(false);
  });

  it('what is beside a missing field still counts', () => {
    expect(hears('body.country == "de" || body.paid', messageWith(order))).toBe(true);
  });

  it.each([
    ['not JSON by its type', { contentType: 'text/plain' }],
    ['not JSON at all', { body: Buffer.from('{"paid": true') }],
    ['not UTF-8', { body: Buffer.from([0x22, 0xff, 0x22]) }],
    [
      'too large',
      { body: Buffer.from(JSON.stringify({ paid: true, pad: 'x'.repeat(maxFilteredBodyBytes) })) },
    ],
    [
      'too deep',
      { body: Buffer.from('{"paid":true,"deep":' + '['.repeat(100_000) + ']'.repeat(100_000) + '}') },
    ],
  ])('a body that is %s has no fields', (_, more) => {
    expect(hears('body.paid', messageWith(order, more))).toBe(false);
    expect(hears('body.paid || topic == "orders"', messageWith(order, more))).toBe(true);
  });

  it('structured types are JSON too', () => {
    const contentType = 'application/cloudevents+json; charset=utf-8';
    expect(hears('body.paid', messageWith(order, { contentType }))).toBe(true);
  });

  it('no key of a body reaches a prototype', () => {
    const hostile = messageWith(
      '{"__proto__": {"paid": true}, "constructor": {"name": "x"}, "hasOwnProperty": 1}',
    );
    expect(hears('has(body.paid)', hostile)).toBe(false);
    expect(hears('body["__proto__"].paid && body.constructor.name == "x"', hostile)).toBe(true);
    expect(hears('has(body.paid) || true', hostile)).toBe(true);
    expect(({} as Record<string, unknown>)['paid']).toBeUndefined();
  });
});

describe('a condition that is not taken', () => {
  it.each([
    ['tag ==', 6, 'Unexpected token'],
    ['tag = "a"', 4, ''],
    ['tag > 3', 0, 'no such overload'],
    ['tag', 0, 'compare it with something'],
    ['subject == "a"', 0, 'topic, tag, key, contentType, headers, body'],
    ['google == google', 0, 'there is no "google"'],
    ['body.name.matches("(a+)+$")', 0, 'startsWith, endsWith or contains'],
    ['body.list.map(x, x)', 0, 'there is no function "map"'],
    ['cel.bind(x, body, x == 1)', 0, 'there is no function "bind"'],
    ['body.a.contains(body.b)', 0, 'literal'],
    ['body.a in body.b', 0, '"in" needs a literal'],
    ['body.a.exists(x, x == body.b)', 22, 'only the element (x)'],
    ['body.a.exists(x, x.b.exists(y, y == x))', 36, 'only the element (y)'],
    ['body.a.all(x, headers["a"] == x)', 14, 'only the element (x)'],
    ['('.repeat(60) + 'true' + ')'.repeat(60), 20, 'maxDepth'],
    [Array.from({ length: 60 }, () => 'true').join('||'), 0, 'max'],
    [`tag == "${'x'.repeat(1_000)}"`, 1_000, '1000 characters'],
  ])('%s is refused at character %i', (condition, position, remedy) => {
    expect(compileFilter(condition)).toMatchObject({
      position,
      detail: expect.stringContaining(remedy) as string,
    });
  });
});

describe('the time of a filter', () => {
  /** Counts what happens rather than the clock: a body within the limit is gone through once per node. */
  it('a body with more values than are gone through has no fields for a loop, and all of them otherwise', () => {
    const long = { list: Array.from({ length: maxFilteredValues + 1 }, () => ({})), paid: true };
    expect(hears('body.list.exists(x, x.y == 1) || body.paid', messageWith(long))).toBe(false);
    expect(hears('body.paid', messageWith(long))).toBe(true);
    const short = { list: Array.from({ length: maxFilteredValues - 10 }, () => ({})), paid: true };
    expect(hears('body.list.exists(x, x.y == 1) || body.paid', messageWith(short))).toBe(true);
  });
});
