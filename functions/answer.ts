/** Answers of the API: plain header records, because the Node server writes those without building a `Headers`. */

/**
 * On every answer. The API serves data, never pages, so nothing may be loaded, framed, sniffed or kept; answers are
 * about one caller, so no cache may hold them.
 */
const securityHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

/** What a door hands back; the app adds the security headers and the request id. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** @example answerJson(202, published, { location: `/v1/messages/${published.id}` }) */
export function answerJson(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify(value), headers };
}

export function toResponse(answer: Answer, requestId: string): Response {
  return new Response(answer.body, {
    status: answer.status,
    headers: {
      'content-type': answer.contentType,
      ...securityHeaders,
      'x-request-id': requestId,
      ...answer.headers,
    },
  });
}
