/**
 * Who is asking, and may they. `Authorization: Bearer sk_…` (RFC 6750) and nothing else: a key in the query would end
 * in logs and histories, so it is refused even beside a good header. What is no key text (scheme, form, checksum) is
 * refused before the catalog is read.
 */
import { parseApiKey, verifyApiKey } from '../shared/catalog/api-key.ts';
import type { ApiKey, Scope } from '../shared/catalog/api-key.ts';
import { Problem } from '../shared/problem.ts';
import type { Services } from './services.ts';

type Needs = Pick<Services, 'catalog' | 'clock'>;

const bearer = /^bearer +(\S+)$/i;
const keyInQuery = /[?&](?:api[-_]?key=|access_token=|[^=&#]*=sk_[0-9a-z]{12}_)/i;

/**
 * @throws Problem `unauthenticated` or `forbidden`
 * @example const key = await authenticate(request, 'publish', services)
 */
export async function authenticate(
  request: Request,
  scope: Scope,
  { catalog, clock }: Needs,
): Promise<ApiKey> {
  if (keyInQuery.test(request.url)) {
    throw refused(
      'A key never belongs in a URL, where logs keep it. Revoke it, and send the new one as a header.',
    );
  }
  const header = request.headers.get('authorization');
  if (header === null) throw refused('Send "Authorization: Bearer sk_…".');
  const text = bearer.exec(header)?.[1];
  const parsed = text === undefined ? undefined : parseApiKey(text);
  if (!parsed)
    throw refused('This is no API key: it is mistyped, cut or of another scheme.', 'invalid_token');
  const key = (await catalog.current()).keys.get(parsed.id);
  const verification = key ? verifyApiKey(parsed, key, clock.nowMs()) : 'wrong-secret';
  if (!key || verification !== 'valid') throw refused(reasons[verification], 'invalid_token');
  if (!key.scopes.includes(scope)) throw forbidden(scope);
  return key;
}

const reasons = {
  valid: '',
  'wrong-secret': 'There is no such API key.',
  revoked: 'This API key was revoked.',
  expired: 'This API key has expired.',
} as const;

function refused(detail: string, error?: 'invalid_token'): Problem {
  const challenge = error === undefined ? 'Bearer realm="setway"' : `Bearer realm="setway", error="${error}"`;
  return new Problem('unauthenticated', detail, { headers: { 'www-authenticate': challenge } });
}

function forbidden(scope: Scope): Problem {
  return new Problem('forbidden', `This needs the scope "${scope}", which the API key does not have.`, {
    headers: { 'www-authenticate': `Bearer realm="setway", error="insufficient_scope", scope="${scope}"` },
  });
}
