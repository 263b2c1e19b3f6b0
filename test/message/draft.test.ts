import { describe, expect, it } from 'vitest';
import { readDraft as parse, readRawDraft as parseRaw } from '../../shared/message/draft.ts';
import type { RawPublish } from '../../shared/message/draft.ts';
import { Problem } from '../../shared/problem.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const readDraft = (value: unknown) => parse(value, nowMs);
const readRawDraft = (publish: RawPublish) => parseRaw(publish, nowMs);

const good = { topic: 'orders', body: { order: 4711 } };

function faultsOf(attempt: () => unknown): readonly string[] {
  try {
    attempt();
  } catch (error) {
    if (error instanceof Problem && error.kind === 'invalid-request') {
      return (error.extras.faults ?? []).map((fault) => `${fault.at}: ${fault.detail}`);
    }
    throw error;
  }
  return [];
}

describe('the JSON form', () => {
  it('fills in what the client leaves out', () => {
    expect(readDraft(good)).toEqual({
      topic: 'orders',
      mode: 'confirm',
      body: Buffer.from('{"order":4711}'),
      contentType: 'application/json',
      headers: {},
    });
  });

  it('takes every field', () => {
    const draft = readDraft({
      topic: 'shop.orders',
      tag: 'eu.created',
      key: 'user:42@example',
      mode: 'fast',
      bodyBase64: 'AAH/',
      contentType: 'image/png',
      headers: { 'X-Shop': '7', 'ce-type': 'a.b' },
      route: { set: 'hangzhou' },
    });
    expect(draft).toEqual({
      topic: 'shop.orders',
      tag: 'eu.created',
      key: 'user:42@example',
      mode: 'fast',
      body: Buffer.from([0, 1, 255]),
      contentType: 'image/png',
      headers: { 'x-shop': '7', 'ce-type': 'a.b' },
      route: { set: 'hangzhou', fallback: 'prefer' },
    });
  });

  it.each([
    ['null', null, 'null'],
    ['a string', 'hello', '"hello"'],
    ['a number', 12.5, '12.5'],
    ['a list', [1, 'two'], '[1,"two"]'],
  ])('sends %s as JSON', (_, body, text) => {
    expect(Buffer.from(readDraft({ topic: 'orders', body }).body).toString()).toBe(text);
  });

  it('sends a string of another type as its UTF-8 bytes', () => {
    const draft = readDraft({ topic: 'orders', body: '你好', contentType: 'text/plain; charset=utf-8' });
    expect(Buffer.from(draft.body).toString()).toBe('你好');
  });

  it('takes a body of type …+json as JSON', () => {
    const draft = readDraft({ topic: 'orders', body: 'x', contentType: 'application/geo+json; v=1' });
    expect(Buffer.from(draft.body).toString()).toBe('"x"');
  });

  it.each([null, [], 'text', 42, true])('refuses %j, which is no object', (value) => {
    expect(() => readDraft(value)).toThrow(expect.objectContaining({ kind: 'invalid-json' }));
  });

  it('names the nearest field for an unknown one', () => {
    expect(faultsOf(() => readDraft({ ...good, contenttype: 'a/b' }))).toEqual([
      '/contenttype: There is no such field. Did you mean "contentType"?',
    ]);
    expect(faultsOf(() => readDraft({ ...good, route: { set: 'a', falback: 'only' } }))).toEqual([
      '/route/falback: There is no such field. Did you mean "fallback"?',
    ]);
  });

  it('reports every fault at once', () => {
    const faults = faultsOf(() => readDraft({ topic: '', tag: '*', mode: 'slow', headers: { host: 'x' } }));
    expect(faults.map((fault) => fault.split(':')[0])).toEqual(
      expect.arrayContaining(['/topic', '/tag', '/mode']),
    );
  });

  it.each([
    ['neither body', { topic: 'orders' }],
    ['both bodies', { ...good, bodyBase64: '' }],
    ['base64 without padding', { topic: 'orders', bodyBase64: 'AAE' }],
    ['base64 with a line break', { topic: 'orders', bodyBase64: 'AAH/\nAAH/' }],
    ['base64url', { topic: 'orders', bodyBase64: 'AAH_' }],
    ['an object of type text/plain', { ...good, contentType: 'text/plain' }],
    ['a content type that is none', { ...good, contentType: 'json' }],
    ['a content type with a line break', { ...good, contentType: 'text/plain\r\nx: y' }],
    ['a header that is no string', { ...good, headers: { a: 1 } }],
    ['an unknown mode', { ...good, mode: 'reliable' }],
    ['an unknown fallback', { ...good, route: { set: 'a', fallback: 'never' } }],
  ])('refuses %s', (_, value) => {
    expect(faultsOf(() => readDraft(value))).not.toEqual([]);
  });

  const badNames = {
    nothing: '',
    'a dot': '.',
    'two dots': '..',
    'an empty word': 'a..b',
    'a star': 'a.*',
    'a hash': '#',
    'a NUL': 'a\0b',
    'a line break': 'a\r\nb',
    'a space': 'a b',
    'a Cyrillic letter': 'оrders',
    'full-width letters': 'ｏrders',
    'a zero-width space': 'or\u200bders',
    'a right-to-left mark': '\u202eorders',
    'the Kelvin sign': '\u212Aey',
    'a name of the broker': 'amq.topic',
    'a name of the broker in capitals': 'AMQ.topic',
    '256 bytes': 'a'.repeat(256),
  };
  it.each(Object.entries(badNames))('refuses %s as a topic and as a tag', (_, name) => {
    expect(faultsOf(() => readDraft({ ...good, topic: name }))).not.toEqual([]);
    expect(faultsOf(() => readDraft({ ...good, tag: name }))).not.toEqual([]);
  });

  const badKeys = ['', '.', '..', 'a*', '#', 'a\0', 'a b', 'ключ', '键', '\u200b', '\u212A', 'a'.repeat(256)];
  it.each(badKeys)('refuses the key %j', (key) => {
    expect(faultsOf(() => readDraft({ ...good, key }))).not.toEqual([]);
  });

  it('takes names of the full length', () => {
    expect(
      readDraft({ ...good, topic: 'a'.repeat(128), tag: 'b'.repeat(255), key: 'c'.repeat(255) }).key,
    ).toHaveLength(255);
  });
});

describe('client headers', () => {
  const refusedNames = [
    'host',
    'Connection',
    'transfer-encoding',
    'Content-Length',
    'content-type',
    'webhook-id',
    'Webhook-Anything',
    'setway-key',
    'CC',
    'bcc',
    'traceparent',
    '',
    'a b',
    'a:b',
    'naïve',
    'x\r\ny',
    'n'.repeat(129),
  ];
  it.each(refusedNames)('refuse the name %j', (name) => {
    expect(faultsOf(() => readDraft({ ...good, headers: { [name]: '1' } }))).not.toEqual([]);
  });

  it.each(['a\r\nb', 'a\nb', 'a\0b', 'Ω', '你', '\u0085', '😀'])('refuse the value %j', (value) => {
    expect(faultsOf(() => readDraft({ ...good, headers: { 'x-a': value } }))).not.toEqual([]);
  });

  it('take Latin-1', () => {
    expect(readDraft({ ...good, headers: { 'x-a': 'naïve\tcafé' } }).headers).toEqual({
      'x-a': 'naïve\tcafé',
    });
  });

  it('are at most 100', () => {
    const some = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, '']));
    expect(faultsOf(() => readDraft({ ...good, headers: some(100) }))).toEqual([]);
    expect(faultsOf(() => readDraft({ ...good, headers: some(101) }))).not.toEqual([]);
  });

  it('are at most 32 KiB together', () => {
    const value = 'v'.repeat(32 * 1024 - 2);
    expect(faultsOf(() => readDraft({ ...good, headers: { 'x-': value } }))).toEqual([]);
    expect(faultsOf(() => readDraft({ ...good, headers: { 'x-a': value } }))).not.toEqual([]);
  });

  it('do not differ in case only', () => {
    expect(faultsOf(() => readDraft({ ...good, headers: { 'X-A': '1', 'x-a': '2' } }))).not.toEqual([]);
  });
});

describe('the raw form', () => {
  const body = Buffer.from([1, 2, 3]);
  const raw = (headers: Record<string, string>, topic = 'orders') =>
    readRawDraft({ topic, headers: new Headers(headers), body });

  it('keeps the bytes and their type', () => {
    expect(raw({ 'content-type': 'image/png' })).toEqual({
      topic: 'orders',
      mode: 'confirm',
      body,
      contentType: 'image/png',
      headers: {},
    });
    expect(raw({}).contentType).toBe('application/octet-stream');
  });

  it('reads its options from headers', () => {
    const draft = raw({
      'Setway-Tag': 'eu.created',
      'Setway-Key': 'user-42',
      'Setway-Mode': 'fast',
      'Setway-Set': 'hangzhou',
      'Setway-Route-Fallback': 'only',
      'Setway-Latitude': '30.2',
      'Setway-Header-X-Shop': '7',
      'x-ignored': 'yes',
    });
    expect(draft).toMatchObject({
      tag: 'eu.created',
      key: 'user-42',
      mode: 'fast',
      headers: { 'x-shop': '7' },
      route: { set: 'hangzhou', fallback: 'only' },
    });
  });

  it.each<[string, Record<string, string>]>([
    ['Setway-Tag', { 'Setway-Tag': 'a.*' }],
    ['Setway-Key', { 'Setway-Key': '' }],
    ['Setway-Mode', { 'Setway-Mode': 'sure' }],
    ['Setway-Set', { 'Setway-Set': '..' }],
    ['Setway-Route-Fallback', { 'Setway-Route-Fallback': 'only' }],
    ['Setway-Header-', { 'Setway-Header-Host': 'x' }],
    ['setway-tags', { 'Setway-Tags': 'x' }],
    ['Content-Type', { 'content-type': 'png' }],
  ])('names %s when it is wrong', (name, headers) => {
    expect(faultsOf(() => raw(headers)).join()).toContain(name);
  });

  it('refuses a topic that is no name', () => {
    expect(faultsOf(() => raw({}, 'a*'))).not.toEqual([]);
  });
});
