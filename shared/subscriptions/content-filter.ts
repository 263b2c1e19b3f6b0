/**
 * Which messages a subscription hears by their content: a condition in CEL, the Common Expression Language
 * (https://github.com/google/cel-spec), over headers and the fields of a JSON body.
 *
 *     headers["x-region"] == "eu" && body.total >= 100.0
 *     body.items.exists(item, item.sku.startsWith("book-")) || topic == "refunds"
 *
 * Why CEL, and why `@marcbachmann/cel-js`: it is a language of conditions with a specification (users know it from
 * Kubernetes and Envoy), it always ends, and this implementation walks a checked tree: no `eval`, no dependencies, types
 * checked with positions. `@bufbuild/cel` brings Protobuf along, `cel-js` a parser generator; a JSON Schema
 * (`@cfworker/json-schema`) says little about two fields at once, and its `pattern` is a backtracking RegExp, as is CEL's
 * `matches`, which is therefore refused here.
 *
 * Whoever publishes chooses the body and whoever subscribes the condition, so time is bounded by what is taken at all:
 * - at most 1,000 characters and 100 nodes; only the functions in `functions` below, and literal search texts;
 * - inside `exists`, `all`, `exists_one` and `filter` only the element is spoken of, so that the elements of a body are
 *   visited once per node however these are nested; `in` has a literal on one side;
 * - a body is read up to 256 KiB and 64 levels, by a condition that goes through elements up to 2,000 values; objects
 *   become Maps, so that no key of a body reaches a prototype.
 *
 * Nothing a message holds is an error: a missing field or a wrong type makes the comparison false, and a body that is
 * not JSON, or is too large or too deep, has no fields.
 */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { isWithinDepth } from '../message/strict-json.ts';
import type { Message } from '../message/message.ts';

/** What is seen of a message. */
export type FilteredMessage = Pick<Message, 'topic' | 'tag' | 'key' | 'headers' | 'contentType' | 'body'>;

export type ContentFilter = (message: FilteredMessage) => boolean;

/** A condition that is not taken, and what to do about it. */
export interface FilterFault {
  /** Characters from its beginning. */
  readonly position: number;
  readonly detail: string;
}

export const maxFilterCharacters = 1_000;
/** Larger bodies have no fields for a filter. */
export const maxFilteredBodyBytes = 256 * 1024;
/** Members and elements of a body whose elements are gone through: a missing field costs some microseconds in each. */
export const maxFilteredValues = 2_000;
const maxNodes = 100;
const maxLevels = 20;

/** What a condition speaks of, with its type. */
const variables = {
  topic: 'string',
  tag: 'string',
  key: 'string',
  contentType: 'string',
  headers: 'map<string, string>',
  body: 'dyn',
} as const;

const environment = new Environment({
  limits: { maxAstNodes: maxNodes, maxDepth: maxLevels, maxListElements: maxNodes, maxMapEntries: maxNodes },
});
for (const [name, type] of Object.entries(variables)) environment.registerVariable(name, type);

/** By the name: whether the argument has to be a literal, because the time grows with both texts. */
const functions: Readonly<Record<string, 'any' | 'literal' | 'element'>> = {
  has: 'any',
  size: 'any',
  int: 'any',
  double: 'any',
  string: 'any',
  bool: 'any',
  lowerAscii: 'any',
  startsWith: 'literal',
  endsWith: 'literal',
  contains: 'literal',
  exists: 'element',
  all: 'element',
  exists_one: 'element',
  filter: 'element',
};

/**
 * @returns the filter, or why it is not taken
 * @example compileFilter('body.total > 100.0') // a function of a message
 */
export function compileFilter(text: string): ContentFilter | FilterFault {
  if (text.length > maxFilterCharacters)
    return { position: maxFilterCharacters, detail: `has more than ${maxFilterCharacters} characters` };
  try {
    const parsed = environment.parse(text);
    const fault = faultIn(parsed.ast, undefined);
    if (fault) return fault;
    const { valid, type, error } = parsed.check();
    if (!valid) return faultOf(error);
    if (type !== 'bool' && type !== 'dyn')
      return { position: 0, detail: `is a ${type}, not a condition: compare it with something` };
    const reading = readingOf(parsed.ast);
    return (message) => isTrue(() => parsed(contextOf(message, reading)) as unknown);
  } catch (error) {
    return faultOf(error);
  }
}

/** @example isFault(compileFilter('tag ==')) // true */
export function isFault(compiled: ContentFilter | FilterFault): compiled is FilterFault {
  return typeof compiled !== 'function';
}

/** An error's stack is most of its cost, and nobody reads it here. */
function isTrue(evaluate: () => unknown): boolean {
  const { stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 0;
    return evaluate() === true;
  } catch {
    return false; // a field that is missing or of another type
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

interface Located {
  readonly summary: string;
  readonly range?: { readonly start: number };
}

function faultOf(error: unknown): FilterFault {
  const { summary, range } = error as Partial<Located>;
  return { position: range?.start ?? 0, detail: summary ?? 'cannot be read' };
}

type Node = ASTNode;

/** Arguments of a node are nodes, lists of nodes, names and literals. */
function childrenOf({ args }: Node): readonly Node[] {
  return [args].flat(3).filter(isNode);
}

function isNode(argument: unknown): argument is Node {
  return typeof argument === 'object' && argument !== null && 'op' in argument;
}

/** The first thing in it whose time has no good bound, or that this language leaves out. */
function faultIn(node: Node, element: string | undefined): FilterFault | undefined {
  const own = ownFault(node, element);
  if (own !== undefined) return { position: node.start, detail: own };
  const inner = elementOf(node);
  for (const [index, child] of childrenOf(node).entries()) {
    // What is iterated belongs to the outside, the element's name is none of ours, the rest is about the element.
    if (inner !== undefined && index === 1) continue;
    const fault = faultIn(child, inner === undefined || index === 0 ? element : inner);
    if (fault) return fault;
  }
  return undefined;
}

function ownFault(node: Node, element: string | undefined): string | undefined {
  if (node.op === 'id' && element !== undefined && node.args !== element)
    return `"${node.args}": inside exists, all, exists_one and filter only the element (${element}) can be spoken of; compare the rest outside`;
  if (node.op === 'id' && element === undefined && !Object.hasOwn(variables, node.args))
    return `there is no "${node.args}" here; there are ${Object.keys(variables).join(', ')}`;
  if (node.op === 'in' && !isLiteral(node.args[0]) && !isLiteral(node.args[1]))
    return '"in" needs a literal on one side: "a" in body.list, or body.field in ["a", "b"]';
  if (node.op === 'call') return callFault(node.args[0], node.args[1]);
  return node.op === 'rcall' ? callFault(node.args[0], node.args[2]) : undefined;
}

function callFault(name: string, args: readonly Node[]): string | undefined {
  if (name === 'matches')
    return 'regular expressions are not evaluated, because one can take for ever; use startsWith, endsWith or contains';
  const kind = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (kind === undefined)
    return `there is no function "${name}" here; there are ${Object.keys(functions).join(', ')}`;
  return kind === 'literal' && !args.every(isLiteral)
    ? `${name}() takes a literal text; compare fields with ==`
    : undefined;
}

/** The name of the element that a macro goes through the elements with. */
function elementOf(node: Node): string | undefined {
  if (node.op !== 'rcall' || functions[node.args[0]] !== 'element') return undefined;
  const [name] = node.args[2];
  return name?.op === 'id' ? name.args : undefined;
}

function isLiteral(node: Node): boolean {
  return (
    node.op === 'value' || ((node.op === 'list' || node.op === '-_') && childrenOf(node).every(isLiteral))
  );
}

/** What of a message a condition looks at, so that the rest is not read for it. */
interface Reading {
  readonly headers: 'read' | 'not';
  readonly maxValues: number;
}

function readingOf(condition: Node): Reading {
  const nodes = allOf(condition);
  const isNamed = (name: string): boolean => nodes.some((node) => node.op === 'id' && node.args === name);
  const isLooping = nodes.some((node) => elementOf(node) !== undefined);
  return {
    headers: isNamed('headers') ? 'read' : 'not',
    maxValues: isNamed('body') ? (isLooping ? maxFilteredValues : Infinity) : 0,
  };
}

function allOf(node: Node): readonly Node[] {
  return [node, ...childrenOf(node).flatMap(allOf)];
}

function contextOf(message: FilteredMessage, { headers, maxValues }: Reading): Record<string, unknown> {
  const { topic, tag = '', key = '', contentType } = message;
  return {
    topic,
    tag,
    key,
    contentType,
    headers: headers === 'read' ? new Map(Object.entries(message.headers)) : null,
    body: maxValues > 0 ? fieldsOf(message, maxValues) : null,
  };
}

const jsonType = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

/** The body as JSON; null when it is none that is read. */
function fieldsOf({ contentType, body }: FilteredMessage, maxValues: number): unknown {
  if (!jsonType.test(contentType) || body.length > maxFilteredBodyBytes || !isWithinDepth(body)) return null;
  try {
    return mapped(JSON.parse(decoder.decode(body)), { left: maxValues });
  } catch {
    return null; // not JSON, or too much of it: it has no fields
  }
}

/** Recursion is bounded by the depth that was taken. */
function mapped(value: unknown, values: { left: number }): unknown {
  if (values.left-- < 0) throw new RangeError('More values than this filter reads.');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => mapped(each, values));
  return new Map(Object.entries(value).map(([name, each]) => [name, mapped(each, values)]));
}
