import { describe, expect, it } from 'vitest';
import { createTelemetry, renderPrometheus } from '../shared/telemetry.ts';

describe('telemetry', () => {
  it('writes counters and gauges as Prometheus reads them', () => {
    const telemetry = createTelemetry();
    telemetry.count('setway_stored_total', { set: 'a' });
    telemetry.count('setway_stored_total', { set: 'a' }, 4);
    telemetry.count('setway_stored_total', { set: 'b' });
    telemetry.set('setway_broker_state', { set: 'a' }, 1);
    telemetry.set('setway_broker_state', { set: 'a' }, 0.5);
    expect(renderPrometheus([telemetry.snapshot()])).toBe(
      [
        '# HELP setway_stored_total Messages committed',
        '# TYPE setway_stored_total counter',
        'setway_stored_total{set="a"} 5',
        'setway_stored_total{set="b"} 1',
        '# HELP setway_broker_state 1 connected, 0.5 blocked, 0 disconnected',
        '# TYPE setway_broker_state gauge',
        'setway_broker_state{set="a"} 0.5',
        '',
      ].join('\n'),
    );
  });

  it('puts a value into the first bucket that holds it, and adds buckets up', () => {
    const telemetry = createTelemetry();
    for (const seconds of [0.001, 0.002, 0.4, 31])
      telemetry.observe('setway_http_request_seconds', { route: '/' }, seconds);
    const text = renderPrometheus([telemetry.snapshot()]);
    const value = (suffix: string): number => {
      const line = text.split('\n').find((each) => each.startsWith(`setway_http_request_seconds${suffix}`));
      return Number(line?.split(' ').at(-1));
    };
    expect(value('_bucket{route="/",le="0.001"}')).toBe(1);
    expect(value('_bucket{route="/",le="0.0025"}')).toBe(2);
    expect(value('_bucket{route="/",le="0.25"}')).toBe(2);
    expect(value('_bucket{route="/",le="0.5"}')).toBe(3);
    expect(value('_bucket{route="/",le="30"}')).toBe(3);
    expect(value('_bucket{route="/",le="+Inf"}')).toBe(4);
    expect(value('_count{route="/"}')).toBe(4);
    expect(value('_sum{route="/"}')).toBeCloseTo(31.403);
  });

  it('adds up what several hosts report, and changes none of their snapshots', () => {
    const hosts = [createTelemetry(), createTelemetry()];
    for (const host of hosts) {
      host.count('setway_stored_total', { set: 'a' }, 2);
      host.observe('setway_commit_size', { set: 'a' }, 3);
    }
    const snapshots = hosts.map((host) => host.snapshot());
    const render = (): string => renderPrometheus(snapshots);
    expect(render()).toContain('setway_stored_total{set="a"} 4');
    expect(render()).toContain('setway_commit_size_bucket{set="a",le="5"} 2');
    expect(render()).toContain('setway_commit_size_sum{set="a"} 6');
  });

  it('escapes what labels hold', () => {
    const telemetry = createTelemetry();
    telemetry.count('setway_stored_total', { set: 'a"b\\c\nd' });
    expect(renderPrometheus([telemetry.snapshot()])).toContain(
      String.raw`setway_stored_total{set="a\"b\\c\nd"} 1`,
    );
  });
});
