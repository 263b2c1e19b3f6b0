import { expect, it } from 'vitest';
import { featuresOf } from '../../shared/topology/broker-features.ts';

it('knows what 3.10 lacks', () => {
  expect(featuresOf('3.10.8')).toEqual({
    mirroredQueues: true,
    queueMode: true,
    policiesByQueueType: false,
    targetGroupSize: false,
    defaultDeliveryLimit: undefined,
    deprecatedFeatures: false,
    maxMessageBytes: 134_217_728,
  });
});

it('knows what came with 3.12 and 3.13', () => {
  expect(featuresOf('3.12.0')).toMatchObject({
    queueMode: false,
    policiesByQueueType: true,
    targetGroupSize: false,
  });
  expect(featuresOf('3.13.7')).toMatchObject({ targetGroupSize: true, mirroredQueues: true });
});

it('knows what 4.x has given up, release candidates included', () => {
  expect(featuresOf('4.3.0-rc.1')).toMatchObject({
    mirroredQueues: false,
    defaultDeliveryLimit: 20,
    maxMessageBytes: 16_777_216,
  });
});

it('takes what it cannot read for the oldest', () => {
  expect(featuresOf('edge')).toEqual(featuresOf('3.8.0'));
});
