/**
 * Every metric and its unit, in one place, and the registry that keeps them. A host's samples travel as plain data
 * (`snapshot`), because on Cloudflare the edge answers `/metrics` for hosts that live in other isolates;
 * `renderPrometheus` writes any number of snapshots as one exposition (Prometheus text format 0.0.4).
 *
 * Own code, because prom-client does not load in workerd (it requires Node's `cluster` and `v8`).
 */
type Kind = 'counter' | 'gauge' | 'histogram';

interface Metric {
  readonly kind: Kind;
  readonly help: string;
  readonly labels: readonly string[];
}

/** Upper bounds in seconds: from a local hop to the longest webhook timeout. */
const secondBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

const catalogue = {
  setway_http_requests_total: {
    kind: 'counter',
    help: 'HTTP requests answered',
    labels: ['route', 'status'],
  },
  setway_http_request_seconds: { kind: 'histogram', help: 'Time to answer a request', labels: ['route'] },
  setway_published_total: { kind: 'counter', help: 'Messages published', labels: ['set', 'mode', 'reason'] },
  setway_failover_total: {
    kind: 'counter',
    help: 'Offers that went on to the next SET',
    labels: ['set', 'problem'],
  },
  setway_stored_total: { kind: 'counter', help: 'Messages committed', labels: ['set'] },
  setway_commit_size: { kind: 'histogram', help: 'Messages per group commit', labels: ['set'] },
  setway_sent_total: { kind: 'counter', help: 'Publishes to the broker', labels: ['set', 'outcome'] },
  setway_fast_returned_total: { kind: 'counter', help: 'Fast messages no queue took', labels: ['set'] },
  setway_deliveries_total: {
    kind: 'counter',
    help: 'Webhook calls',
    labels: ['set', 'subscription', 'verdict'],
  },
  setway_copies_total: {
    kind: 'counter',
    help: 'Copies of messages that another SET delivers, held or dropped',
    labels: ['set', 'origin', 'fate'],
  },
  setway_federation_link_up: {
    kind: 'gauge',
    help: 'Whether the federation links from an upstream SET run',
    labels: ['set', 'upstream'],
  },
  setway_federation_lag_messages: {
    kind: 'gauge',
    help: 'Messages of an upstream SET that wait to be copied to a SET',
    labels: ['set', 'upstream'],
  },
  setway_pulled_total: {
    kind: 'counter',
    help: 'Messages taken out of queues for pullers',
    labels: ['set', 'subscription'],
  },
  setway_delivery_seconds: {
    kind: 'histogram',
    help: 'Time of a webhook call',
    labels: ['set', 'subscription'],
  },
  setway_filtered_total: {
    kind: 'counter',
    help: 'Messages that the filter of a subscription left out',
    labels: ['set', 'subscription'],
  },
  setway_gap_callbacks_total: {
    kind: 'counter',
    help: 'Calls that tell of gaps in sequences',
    labels: ['set', 'verdict'],
  },
  setway_callbacks_total: {
    kind: 'counter',
    help: 'Calls that tell how deliveries ended',
    labels: ['set', 'verdict'],
  },
  setway_live_hosts: {
    kind: 'gauge',
    help: 'Live hosts of the SET as this one knows them; of several hosts the sum',
    labels: ['set'],
  },
  setway_closed_buckets: {
    kind: 'gauge',
    help: 'Buckets whose SET takes nothing: their lanes wait until it is back or taken over',
    labels: ['set'],
  },
  setway_set_load: {
    kind: 'gauge',
    help: 'Messages per second a SET takes by its capacity, as this edge balances by it; NaN: nobody knows',
    labels: ['set'],
  },
  setway_take_overs_total: {
    kind: 'counter',
    help: 'Take-overs of a SET by itself, by what came of them',
    labels: ['set', 'result'],
  },
  setway_disabled_total: {
    kind: 'counter',
    help: 'Subscriptions that a SET has disabled',
    labels: ['set', 'subscription'],
  },
  setway_breaker_state: {
    kind: 'gauge',
    help: 'Breaker of a webhook: 0 closed, 0.5 probing, 1 open; of several hosts the sum',
    labels: ['set', 'subscription'],
  },
  setway_rate_limited_total: {
    kind: 'counter',
    help: 'Requests refused by a limit of their key or topic',
    labels: ['by'],
  },
  setway_rate_limit_local_total: {
    kind: 'counter',
    help: 'Limited requests that the edge counted alone, because Redis was away or slow',
    labels: [],
  },
  setway_checks_total: {
    kind: 'counter',
    help: 'Checks of undecided transactions',
    labels: ['set', 'state'],
  },
  setway_order_refused_total: {
    kind: 'counter',
    help: 'Items of a sequence whose number another message had',
    labels: ['set', 'subscription'],
  },
  setway_broker_state: { kind: 'gauge', help: '1 connected, 0.5 blocked, 0 disconnected', labels: ['set'] },
  setway_topology_drift: {
    kind: 'gauge',
    help: 'What differs between RabbitMQ and what it should be, at the last look of reconcile-topology',
    labels: ['set'],
  },
  setway_due_lateness_seconds: {
    kind: 'histogram',
    help: 'How late due work began',
    labels: ['set', 'kind'],
  },
  setway_job_runs_total: { kind: 'counter', help: 'Cron runs', labels: ['job', 'result'] },
  setway_job_seconds: { kind: 'histogram', help: 'Time of a cron run', labels: ['job'] },
  setway_job_handled_total: { kind: 'counter', help: 'Rows a cron handled', labels: ['job'] },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof catalogue;
type Labels = Readonly<Record<string, string | number>>;

/** Messages per commit rather than seconds. */
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] as const;

function bucketsOf(name: MetricName): readonly number[] {
  return name === 'setway_commit_size' ? sizeBuckets : secondBuckets;
}

export interface Sample {
  readonly name: MetricName;
  readonly labels: readonly (string | number)[];
  /** Counter and gauge: the value. Histogram: the sum. */
  value: number;
  /** Histogram only: observations per bucket (not cumulative), the last one for +Inf. */
  readonly counts?: number[];
}

export interface Telemetry {
  /** Adds to a counter. */
  count(name: MetricName, labels: Labels, amount?: number): void;
  /** Records a value in a histogram. */
  observe(name: MetricName, labels: Labels, value: number): void;
  /** Sets a gauge. */
  set(name: MetricName, labels: Labels, value: number): void;
  /** Takes a gauge back: what it told of is not there any more. */
  forget(name: MetricName, labels: Labels): void;
  snapshot(): readonly Sample[];
}

export function createTelemetry(): Telemetry {
  const samples = new Map<string, Sample>();
  const valuesOf = (name: MetricName, labels: Labels) =>
    catalogue[name].labels.map((label) => labels[label] ?? '');
  const keyOf = (name: MetricName, values: Sample['labels']): string => `${name}|${values.join('|')}`;
  const sampleOf = (name: MetricName, labels: Labels): Sample => {
    const values = valuesOf(name, labels);
    const key = keyOf(name, values);
    const known = samples.get(key);
    if (known) return known;
    const isHistogram = catalogue[name].kind === 'histogram';
    const counts = isHistogram ? { counts: Array.from({ length: bucketsOf(name).length + 1 }, () => 0) } : {};
    const sample: Sample = { name, labels: values, value: 0, ...counts };
    samples.set(key, sample);
    return sample;
  };
  return {
    count: (name, labels, amount = 1) => void (sampleOf(name, labels).value += amount),
    set: (name, labels, value) => void (sampleOf(name, labels).value = value),
    forget: (name, labels) => void samples.delete(keyOf(name, valuesOf(name, labels))),
    observe(name, labels, value) {
      const sample = sampleOf(name, labels);
      const bounds = bucketsOf(name);
      const found = bounds.findIndex((bound) => value <= bound);
      const index = found === -1 ? bounds.length : found;
      sample.value += value;
      if (sample.counts) sample.counts[index] = (sample.counts[index] ?? 0) + 1;
    },
    snapshot: () => [...samples.values()],
  };
}

/** Snapshots of any number of hosts as one Prometheus exposition; equal series are added up. */
export function renderPrometheus(snapshots: readonly (readonly Sample[])[]): string {
  const merged = merge(snapshots.flat());
  const lines: string[] = [];
  for (const [name, metric] of Object.entries(catalogue)) {
    const samples = merged.filter((sample) => sample.name === name);
    if (samples.length === 0) continue;
    lines.push(`# HELP ${name} ${metric.help}`, `# TYPE ${name} ${metric.kind}`);
    for (const sample of samples) lines.push(...render(sample, metric));
  }
  return `${lines.join('\n')}\n`;
}

function merge(samples: readonly Sample[]): Sample[] {
  const merged = new Map<string, Sample>();
  for (const sample of samples) {
    const key = `${sample.name}|${sample.labels.join('|')}`;
    const known = merged.get(key);
    if (known) {
      known.value += sample.value;
      sample.counts?.forEach((count, index) => {
        if (known.counts) known.counts[index] = (known.counts[index] ?? 0) + count;
      });
    } else {
      merged.set(key, { ...sample, ...(sample.counts ? { counts: [...sample.counts] } : {}) });
    }
  }
  return [...merged.values()];
}

function render(sample: Sample, metric: Metric): string[] {
  const labels = metric.labels.map((label, index) => `${label}="${escape(sample.labels[index] ?? '')}"`);
  if (!sample.counts) return [`${sample.name}${braces(labels)} ${sample.value}`];
  const bounds = [...bucketsOf(sample.name).map(String), '+Inf'];
  let total = 0;
  const lines = sample.counts.map((count, index) => {
    total += count;
    return `${sample.name}_bucket${braces([...labels, `le="${bounds[index]}"`])} ${total}`;
  });
  return [
    ...lines,
    `${sample.name}_sum${braces(labels)} ${sample.value}`,
    `${sample.name}_count${braces(labels)} ${total}`,
  ];
}

function braces(labels: readonly string[]): string {
  return labels.length === 0 ? '' : `{${labels.join(',')}}`;
}

function escape(value: string | number): string {
  return String(value)
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', String.raw`\n`);
}
