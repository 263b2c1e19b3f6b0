/**
 * Is this destination allowed? Whoever may create a subscription chooses a URL that this system calls from the inside of
 * its network, so nothing inside may be reachable that way (server-side request forgery). Two gates:
 *
 * 1. `checkWebhookUrl`, when a subscription is created. It classifies what `new URL` made of the text, never the text:
 *    `http://2130706433`, `http://0x7f.1`, `http://①②⑦.0.0.1` and `http://%31%32%37.0.0.1` all become 127.0.0.1 there.
 * 2. `isForbiddenAddress`, for every address a name resolves to, at the moment of connecting. A name may resolve to a
 *    public address today and to a private one tomorrow.
 *
 * An address is allowed if it is global unicast and nothing else: whatever is special, and whatever carries another
 * address inside (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP), is refused, public contents or not.
 * Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6890.
 */
import ipaddr from 'ipaddr.js';
import { Problem } from '../problem.ts';

export interface AddressPolicy {
  /** Plain `http:`. For development. */
  readonly allowHttp: boolean;
  /** 127.0.0.0/8, `::1` and `localhost`. For development. */
  readonly allowLoopback: boolean;
}

export interface WebhookUrlPolicy extends AddressPolicy {
  /** This deployment's own names, `host` or `host:port`: a webhook that publishes to itself would loop. */
  readonly ownHosts: readonly string[];
}

export const strictAddressPolicy: AddressPolicy = { allowHttp: false, allowLoopback: false };

/** Longest URL taken, in characters. */
const maxUrlLength = 2_048;

/**
 * Ports of other protocols, which must not be fed with HTTP: the "bad ports" of the Fetch standard, which browsers and
 * `fetch` refuse too, so that a URL accepted here works on every platform; and the ports of databases and brokers.
 * Source: https://fetch.spec.whatwg.org/#port-blocking
 */
const refusedPorts: ReadonlySet<number> = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
  109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
  526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
  3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
  // PostgreSQL, MySQL, SQL Server, Redis, AMQP, memcached, MongoDB, etcd
  5432, 3306, 1433, 6379, 5671, 5672, 11211, 27017, 2379, 2380,
]);

/** Names that never leave a machine or a network: RFC 6761, 6762, 7686, 8375, 9476; ICANN's `internal` and collision names. */
const innerDomains = [
  'local',
  'internal',
  'localdomain',
  'home.arpa',
  'lan',
  'home',
  'corp',
  'intranet',
  'onion',
  'alt',
];

/** Clouds that answer for a virtual machine's metadata at an address of a public range. */
const metadataAddresses: ReadonlySet<string> = new Set(['168.63.129.16']); // Azure's WireServer

/**
 * The URL, if webhooks may go there.
 * @throws Problem `destination-refused` with the reason
 * @example checkWebhookUrl('https://shop.example.com/hooks', { ...strictAddressPolicy, ownHosts: ['setway.example.com'] })
 */
export function checkWebhookUrl(text: string, policy: WebhookUrlPolicy): URL {
  const url = parse(text);
  const reason =
    schemeFault(url, policy) ??
    credentialsFault(url) ??
    portFault(url) ??
    hostFault(url, policy) ??
    ownFault(url, policy);
  if (reason !== undefined) throw refusal(reason);
  return url;
}

/**
 * Whether a connection to this IP address must not be made. What is no address is forbidden.
 * @example isForbiddenAddress('169.254.169.254') // true
 */
export function isForbiddenAddress(ip: string, policy: AddressPolicy = strictAddressPolicy): boolean {
  return addressFault(ip, policy) !== undefined;
}

/** `new URL` drops tabs, line breaks and outer spaces; a text that needs that is a mistake or an attack. */
function parse(text: string): URL {
  if (text.length > maxUrlLength) throw refusal(`A webhook URL has at most ${maxUrlLength} characters.`);
  if (/[\p{Cc}\s\\]/u.test(text))
    throw refusal('A webhook URL has no spaces, control characters or backslashes.');
  const url = URL.parse(text);
  if (!url) throw refusal('This is not an absolute URL with a valid host and port.');
  return url;
}

function schemeFault(url: URL, policy: AddressPolicy): string | undefined {
  if (url.protocol === 'https:') return undefined;
  if (url.protocol === 'http:' && policy.allowHttp) return undefined;
  return `Webhooks go over https:, not ${url.protocol}`;
}

function credentialsFault(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined;
  return 'A webhook URL carries no user or password. Verify the signature instead.';
}

function portFault(url: URL): string | undefined {
  return refusedPorts.has(Number(url.port || 443))
    ? `Port ${url.port} belongs to another protocol.`
    : undefined;
}

function hostFault(url: URL, policy: AddressPolicy): string | undefined {
  const host = hostOf(url);
  return ipaddr.isValid(host) ? addressFault(host, policy) : nameFault(host, policy);
}

function nameFault(host: string, policy: AddressPolicy): string | undefined {
  if (host === '') return 'A webhook URL names a host.';
  if (isWithin(host, 'localhost')) return policy.allowLoopback ? undefined : `${host} is this machine.`;
  const inner = innerDomains.find((domain) => isWithin(host, domain));
  if (inner !== undefined) return `Names under .${inner} are not public.`;
  return host.includes('.')
    ? undefined
    : `"${host}" is a name of a local network. Webhooks need a public host name.`;
}

function ownFault(url: URL, policy: WebhookUrlPolicy): string | undefined {
  const host = hostOf(url);
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const isOwn = policy.ownHosts.some(
    (own) => own.toLowerCase() === host || own.toLowerCase() === `${host}:${port}`,
  );
  return isOwn
    ? 'This is the deployment itself: a webhook must not call the system that calls it.'
    : undefined;
}

/** Without the brackets of IPv6 and without the trailing dots of a fully qualified name. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.+$/, '');
}

function isWithin(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

function addressFault(ip: string, policy: AddressPolicy): string | undefined {
  if (!ipaddr.IPv4.isValidFourPartDecimal(ip) && !ipaddr.IPv6.isValid(ip)) return `${ip} is no IP address.`;
  const address = ipaddr.parse(ip);
  const range: string = address.range();
  if (range === 'loopback' && policy.allowLoopback) return undefined;
  if (range !== 'unicast') return `${ip} is not a public address (${range}).`;
  if (metadataAddresses.has(address.toString())) return `${ip} answers for the cloud's metadata.`;
  return address instanceof ipaddr.IPv6 ? embeddedFault(ip, address.parts) : undefined;
}

/** Global unicast is 2000::/3 (RFC 4291 §2.4); ISATAP (RFC 5214 §6.1) hides an IPv4 address behind `…:0:5efe:`. */
function embeddedFault(ip: string, parts: readonly number[]): string | undefined {
  const [first = 0, , , , fifth = 0, sixth = 0] = parts;
  if (first >> 13 !== 1) return `${ip} is not a public address.`;
  const isIsatap = (fifth & 0xfdff) === 0 && sixth === 0x5efe;
  return isIsatap ? `${ip} carries another address inside (ISATAP).` : undefined;
}

function refusal(detail: string): Problem {
  return new Problem('destination-refused', detail);
}
