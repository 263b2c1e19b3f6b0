/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/#traceparent-header). A header that breaks the rules is
 * ignored, as the recommendation says: the trace then begins here. A newer version is read by its first four fields.
 */
const pattern = /^(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The header in version 00, or undefined when it is absent or wrong. */
export function validTraceparent(header: string | null): string | undefined {
  const [, version, trace, parent, flags, rest] = (header === null ? null : pattern.exec(header)) ?? [];
  if (trace === undefined || /^0+$/.test(trace) || /^0+$/.test(parent ?? '')) return undefined;
  if (version === '00' && rest !== undefined) return undefined;
  return `00-${trace}-${parent}-${flags}`;
}

/** 32 hexadecimal digits: the trace of the request, or a new one. */
export function traceIdOf(traceparent: string | undefined): string {
  return traceparent?.slice(3, 35) ?? crypto.randomUUID().replaceAll('-', '');
}
