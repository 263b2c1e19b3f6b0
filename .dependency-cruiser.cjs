/**
 * Who may know whom. Floors, left to right; imports only go right:
 * shells → doors → jobs → stories → machines → contracts → model → ground.
 */
const floors = [
  ['shells', '^functions/(cloudflare|node|cli|webhooks)/|^functions/assemble(-fleet|-take-over)?[.]ts$'],
  ['doors', '^functions/[^/]+[.]ts$'],
  ['jobs', '^scheduled/'],
  [
    'stories',
    '^shared/(host|outbox|ordering|publish|transaction|fleet|consumer|client)/|^shared/delivery/(?!courier[.]ts)',
  ],
  ['machines', '^shared/(broker|store|topology|idempotency)/|^shared/webhook/request[.]ts'],
  [
    'contracts',
    '^shared/(broker/broker|topology/(management|broker-features)|store/(store|copy-store|ordered-store|delivery-outcome|shelf|handover)|idempotency/guard|idempotency/sql|idempotency/publish-ledger|publish/publisher|agenda/agenda|delivery/courier|sets/set-link)[.]ts$',
  ],
  ['model', '^shared/(message|subscriptions|sets|webhook|topology/(names|plan))'],
  ['ground', '^shared/[^/]+[.]ts$'],
];
// A path belongs to the contracts or model floor before the machine room it lies in.
const order = ['contracts', 'model', 'shells', 'doors', 'jobs', 'stories', 'machines', 'ground'];
const pattern = Object.fromEntries(floors);
const exclusive = (name) => {
  const before = order
    .slice(0, order.indexOf(name))
    .filter((other) => ['contracts', 'model', 'shells'].includes(other));
  return { path: pattern[name], pathNot: before.map((other) => pattern[other]) };
};
pattern.model =
  '^shared/(message|subscriptions|catalog)/|^shared/sets/(?!set-link)|^shared/webhook/(?!request)|^shared/topology/(names|plan)[.]ts$';
const forbidden = floors.slice(1).map(([name], index) => ({
  name: `${name}-know-nothing-above`,
  severity: 'error',
  from: exclusive(name),
  to: {
    path: floors.slice(0, index + 1).map(([upper]) => pattern[upper]),
    pathNot: floors
      .slice(index + 1)
      .filter(([lower]) => ['contracts', 'model'].includes(lower))
      .map(([lower]) => pattern[lower]),
  },
}));
const only = (name, library, path) => ({
  name,
  severity: 'error',
  from: { path: '^(functions|shared|scheduled)/', pathNot: path },
  to: { path: library },
});

module.exports = {
  forbidden: [
    ...forbidden,
    {
      name: 'stories-see-contracts-not-machines',
      severity: 'error',
      from: exclusive('stories'),
      to: { path: pattern.machines, pathNot: [pattern.contracts, pattern.model] },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'product-never-imports-tests',
      severity: 'error',
      from: { path: '^(functions|shared|scheduled)/' },
      to: { path: '^test/' },
    },
    only('amqplib-only-in-the-broker-room', 'node_modules/amqplib', '^shared/broker/'),
    only('neon-driver-only-in-database-ts', 'node_modules/@neondatabase', '^shared/store/database[.]ts$'),
    only('upstash-only-in-idempotency', 'node_modules/@upstash', '^shared/idempotency/'),
    only('cloudflare-only-in-its-shell', '^cloudflare:', '^functions/cloudflare/'),
    only(
      'node-drivers-only-in-the-node-shell',
      'node_modules/(pg|ioredis|undici|@hono/node-server)/',
      '^functions/(node|cli)/',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
    },
  },
};
