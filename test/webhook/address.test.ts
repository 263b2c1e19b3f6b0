import { describe, expect, it } from 'vitest';
import { checkWebhookUrl, isForbiddenAddress, strictAddressPolicy } from '../../shared/webhook/address.ts';

const production = { ...strictAddressPolicy, ownHosts: ['setway.example.com', 'edge.example.net:8443'] };
const development = { allowHttp: true, allowLoopback: true, ownHosts: ['localhost:8787'] };

/** One address in every forbidden block, first, last and well-known ones. */
const forbiddenAddresses = [
  '0.0.0.0',
  '0.1.2.3',
  '0.255.255.255',
  '127.0.0.1',
  '127.0.0.53',
  '127.1.1.1',
  '127.255.255.255',
  '10.0.0.0',
  '10.1.2.3',
  '10.255.255.255',
  '172.16.0.1',
  '172.20.10.2',
  '172.31.255.255',
  '192.168.0.1',
  '192.168.255.255',
  '100.64.0.1',
  '100.100.100.200',
  '100.127.255.255',
  '169.254.0.1',
  '169.254.169.254',
  '169.254.170.2',
  '169.254.169.123',
  '169.254.255.255',
  '168.63.129.16',
  '192.0.0.1',
  '192.0.0.192',
  '192.0.2.1',
  '198.51.100.7',
  '203.0.113.255',
  '192.88.99.1',
  '198.18.0.1',
  '198.19.255.255',
  '192.31.196.1',
  '192.175.48.1',
  '192.52.193.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '250.1.2.3',
  '255.255.255.254',
  '255.255.255.255',
  '::',
  '::1',
  'fc00::1',
  'fd00:ec2::254',
  'fdaa:0:1::3',
  'fdff:ffff::1',
  'fe80::1',
  'febf::1',
  'fec0::1',
  'ff00::1',
  'ff02::1',
  'ff0e::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:10.0.0.1',
  '::ffff:169.254.169.254',
  '::ffff:8.8.8.8',
  '::ffff:0:127.0.0.1',
  '::127.0.0.1',
  '::10.0.0.1',
  '::7f00:1',
  '::808:808',
  '64:ff9b::7f00:1',
  '64:ff9b::127.0.0.1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b::808:808',
  '64:ff9b:1::7f00:1',
  '2002:7f00:1::',
  '2002:a00:1::1',
  '2002:c0a8:101::',
  '2002:808:808::',
  '2001::1',
  '2001:0:4136:e378::1',
  '2606:4700::5efe:7f00:1',
  '2606:4700::200:5efe:10.0.0.1',
  '100::1',
  '2001:db8::1',
  '3fff::1',
  '2001:2::1',
  '2001:10::1',
  '2001:20::1',
  '2001:4:112::1',
  '2620:4f:8000::1',
  '2001:1::1',
  '2001:30::1',
  '5f00::1',
  '4000::1',
  '8000::1',
  'c000::1',
  'e000::1',
  '1::1',
  '200::1',
  '400::1',
];

const publicAddresses = [
  '8.8.8.8',
  '1.1.1.1',
  '93.184.216.34',
  '100.63.255.255',
  '100.128.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '169.253.255.255',
  '169.255.0.0',
  '11.0.0.0',
  '9.255.255.255',
  '126.255.255.255',
  '128.0.0.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '192.0.1.0',
  '2606:4700::1111',
  '2a00:1450:4001::1',
  '2001:4860:4860::8888',
  '2400:cb00::1',
  '2620:fe::fe',
  '3ffe::1',
];

/** Ways to write 127.0.0.1 and its like that only parsing reveals. */
const disguises = [
  'https://2130706433/',
  'https://0x7f.1/',
  'https://0x7f000001/',
  'https://0177.0.0.1/',
  'https://017700000001/',
  'https://127.1/',
  'https://127.0.1/',
  'https://0/',
  'https://00.0x0.0/',
  'https://①②⑦.0.0.1/',
  'https://%31%32%37.0.0.1/',
  'https://127。0。0。1/',
  'https://127.0.0.1./',
  'https://１２７.0.0.1/',
  'https://2852039166/',
  'https://0xa9fea9fe/',
  'https://0xA9.0xFE.0xA9.0xFE/',
  'https://0251.0376.0251.0376/',
  'https://169.254.43518/',
  'https://10.1/',
  'https://3232235777/',
  'https://0xc0a80101/',
  'https://192.168.257/',
  'https://[0:0:0:0:0:0:0:1]/',
  'https://[::0001]/',
  'https://[::FFFF:7F00:0001]/',
  'https://[0:0:0:0:0:ffff:127.0.0.1]/',
];

const names = [
  'localhost',
  'LOCALHOST',
  'localhost.',
  'localhost..',
  'a.localhost',
  'a.b.localhost.',
  'ｌｏｃａｌｈｏｓｔ',
  'loc%61lhost',
  'metadata.google.internal',
  'metadata.google.internal.',
  'ip-10-0-0-1.ec2.internal',
  'db.internal',
  'internal',
  'printer.local',
  'printer.local.',
  'PRINTER.LOCAL',
  'x.localdomain',
  'localhost.localdomain',
  'router.lan',
  'nas.home',
  'x.home.arpa',
  'mail.corp',
  'wiki.intranet',
  'hidden.onion',
  'x.alt',
  'redis',
  'rabbitmq',
  'postgres',
  'kubernetes',
  'intranet',
];

const texts = [
  // no URL at all
  '',
  ' ',
  'shop.example.com',
  '//shop.example.com',
  '/hooks',
  'https://',
  'https:///',
  'https://%',
  'https://[::1',
  'https://a b.com',
  'https://exa mple.com',
  'https://shop.example.com:65536',
  'https://shop.example.com:99999',
  'https://shop.example.com:-1',
  'https://shop.example.com:x',
  'https://256.256.256.256/',
  'https://1.2.3.4.5/',
  'https://xn--/',
  `https://shop.example.com/${'a'.repeat(2_048)}`,
  // texts the parser would clean up
  ' https://shop.example.com',
  'https://shop.example.com ',
  'https://shop.\nexample.com',
  'ht\ttps://shop.example.com',
  'https:\\\\shop.example.com',
  'https://shop.example.com\\@127.0.0.1',
  'https://shop.example.com/\u0000',
  'https://shop.example.com/a b',
  // other schemes
  'http://shop.example.com/',
  'HTTP://shop.example.com/',
  'file:///etc/passwd',
  'gopher://shop.example.com/',
  'data:text/plain,x',
  'ftp://shop.example.com/',
  'javascript:alert(1)',
  'ws://shop.example.com/',
  'wss://shop.example.com/',
  'blob:https://shop.example.com/x',
  'about:blank',
  'ldap://shop.example.com/',
  'dict://shop.example.com:11211/',
  'unix:/run/docker.sock',
  'jar:https://shop.example.com!/',
  // user and password
  'https://user@shop.example.com/',
  'https://user:pass@shop.example.com/',
  'https://:pass@shop.example.com/',
  'https://shop.example.com@127.0.0.1/',
  'https://shop.example.com%40evil@10.0.0.1/',
  // ports of other protocols
  ...[
    0, 1, 7, 21, 22, 23, 25, 53, 110, 139, 143, 179, 389, 465, 587, 636, 993, 2049, 5060, 6000, 6667, 10080,
  ].map((port) => `https://shop.example.com:${port}/`),
  ...[5432, 3306, 6379, 5672, 5671, 11211, 27017, 2379].map((port) => `https://shop.example.com:${port}/`),
  // this deployment
  'https://setway.example.com/v1/messages',
  'https://SETWAY.example.com/',
  'https://setway.example.com./',
  'https://setway.example.com:444/',
  'https://edge.example.net:8443/',
];

function urlOf(address: string): string {
  return address.includes(':') ? `https://[${address}]/` : `https://${address}/`;
}

const refusedUrls = [
  ...forbiddenAddresses.map(urlOf),
  ...disguises,
  ...names.map((name) => `https://${name}/hooks`),
  ...texts,
];

describe('a webhook URL', () => {
  it('has at least 150 refused forms in the table below', () => {
    expect(new Set(refusedUrls).size).toBeGreaterThanOrEqual(150);
  });

  it.each(refusedUrls)('%j is refused in production', (url) => {
    expect(() => checkWebhookUrl(url, production)).toThrow(
      expect.objectContaining({ kind: 'destination-refused', status: 422 }),
    );
  });

  it.each([
    'https://shop.example.com/hooks?shop=1',
    'https://shop.example.com:8443/',
    'https://shop.example.com./',
    'https://sub.domain.shop.example.co.uk/a/b/c',
    'https://bücher.example/',
    'https://localhost.example.com/',
    'https://internal.example.com/',
    'https://mylocalhost.com/',
    'https://edge.example.net/',
    'https://other.setway.example.com/',
    'https://127.0.0.1.nip.io/', // resolves to loopback: refused when connecting
    ...publicAddresses.map(urlOf),
  ])('%j is taken in production', (url) => {
    expect(checkWebhookUrl(url, production).href).toBe(new URL(url).href);
  });

  it.each([
    'http://localhost:9000/hook',
    'http://127.0.0.1:9000/',
    'http://[::1]:9000/',
    'http://a.localhost/',
    'http://shop.example.com/',
    'https://shop.example.com/',
  ])('%j is taken in development', (url) => {
    expect(checkWebhookUrl(url, development).href).toBe(new URL(url).href);
  });

  it.each([
    ...forbiddenAddresses.filter((address) => !/^(127\.|::1$)/.test(address)).map(urlOf),
    'http://localhost:8787/v1/messages',
    'http://localhost:22/',
    'http://localhost:5432/',
    'http://user@localhost/',
    'file:///etc/passwd',
    'http://redis:9000/',
  ])('%j is refused in development too', (url) => {
    expect(() => checkWebhookUrl(url, development)).toThrow(
      expect.objectContaining({ kind: 'destination-refused' }),
    );
  });

  it('of this deployment is refused at any port when the setting names none', () => {
    const policy = { ...production, ownHosts: ['2606:4700::1', 'Setway.Example.com'] };
    for (const url of ['https://[2606:4700::1]/', 'https://setway.example.com:8443/']) {
      expect(() => checkWebhookUrl(url, policy)).toThrow(/deployment itself/);
    }
  });
});

/** How one IPv4 address is written, or hidden in an IPv6 address or a text that only a parser sees through. */
const notations: Readonly<Record<string, (bytes: readonly number[]) => string>> = {
  'four decimals': (bytes) => bytes.join('.'),
  'one decimal': (bytes) => String(wholeOf(bytes)),
  'one hexadecimal': (bytes) => `0x${wholeOf(bytes).toString(16)}`,
  'one octal': (bytes) => `0${wholeOf(bytes).toString(8)}`,
  'four hexadecimals': (bytes) => bytes.map((byte) => `0x${byte.toString(16)}`).join('.'),
  'four octals': (bytes) => bytes.map((byte) => `0${byte.toString(8)}`).join('.'),
  'octals with more zeros': (bytes) => bytes.map((byte) => `000${byte.toString(8)}`).join('.'),
  'two parts': ([first = 0, ...rest]) => `${first}.${wholeOf(rest)}`,
  'three parts': ([first = 0, second = 0, ...rest]) => `${first}.${second}.${wholeOf(rest)}`,
  'mixed bases': ([a = 0, b = 0, c = 0, d = 0]) => `0x${a.toString(16)}.${b}.0${c.toString(8)}.${d}`,
  'a trailing dot': (bytes) => `${bytes.join('.')}.`,
  'percent signs': (bytes) => Array.from(bytes.join('.'), (each) => `%${hexOf(each.charCodeAt(0))}`).join(''),
  'full-width digits': (bytes) =>
    bytes.join('.').replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit))),
  'ideographic full stops': (bytes) => bytes.join('\u3002'),
  'IPv4-mapped': (bytes) => `[::ffff:${bytes.join('.')}]`,
  'IPv4-mapped, hexadecimal': (bytes) => `[::ffff:${wordsOf(bytes)}]`,
  'IPv4-mapped, in full': (bytes) => `[0000:0000:0000:0000:0000:FFFF:${wordsOf(bytes)}]`,
  'IPv4-compatible': (bytes) => `[::${wordsOf(bytes)}]`,
  'IPv4-translated': (bytes) => `[::ffff:0:${wordsOf(bytes)}]`,
  NAT64: (bytes) => `[64:ff9b::${wordsOf(bytes)}]`,
  'local NAT64': (bytes) => `[64:ff9b:1::${wordsOf(bytes)}]`,
  '6to4': (bytes) => `[2002:${wordsOf(bytes)}::1]`,
  Teredo: (bytes) => `[2001:0:4136:e378:8000:63bf:${wordsOf(bytes.map((byte) => byte ^ 0xff))}]`,
  ISATAP: (bytes) => `[2606:4700::5efe:${wordsOf(bytes)}]`,
};

function wholeOf(bytes: readonly number[]): number {
  return bytes.reduce((whole, byte) => whole * 256 + byte, 0);
}

function hexOf(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function wordsOf([a = 0, b = 0, c = 0, d = 0]: readonly number[]): string {
  return `${hexOf(a)}${hexOf(b)}:${hexOf(c)}${hexOf(d)}`;
}

const inner = forbiddenAddresses.filter((address) => !address.includes(':'));

describe('a forbidden address, however it is written', () => {
  it.each(Object.keys(notations))('is refused: %s', (notation) => {
    const urls = inner.map((ip) => `https://${notations[notation]?.(ip.split('.').map(Number)) ?? ip}/`);
    const taken = urls.filter((url) => isTaken(url));
    expect(taken).toEqual([]);
  });

  it('an IPv6 address with a zone is no URL', () => {
    for (const zone of ['%25eth0', '%eth0', '%251', '%25'])
      expect(isTaken(`https://[fe80::1${zone}]/`)).toBe(false);
  });
});

function isTaken(url: string): boolean {
  try {
    checkWebhookUrl(url, production);
    return true;
  } catch {
    return false;
  }
}

describe('an address', () => {
  it.each(forbiddenAddresses)('%s is forbidden', (address) => {
    expect(isForbiddenAddress(address)).toBe(true);
  });

  it.each(publicAddresses)('%s is allowed', (address) => {
    expect(isForbiddenAddress(address)).toBe(false);
  });

  it.each([
    '',
    'localhost',
    '1.2.3',
    '0x7f.1',
    '2130706433',
    '127.1',
    '::g',
    '1.2.3.4.5',
    'fe80::1%eth0',
    '[::1]',
    '8.8.8.8 ',
  ])('%j is none and forbidden', (text) => {
    expect(isForbiddenAddress(text)).toBe(true);
  });

  it('of loopback is allowed in development, and nothing else', () => {
    const allowed = forbiddenAddresses.filter((address) => !isForbiddenAddress(address, development));
    expect(allowed).toEqual(forbiddenAddresses.filter((address) => /^(127\.|::1$)/.test(address)));
  });
});
