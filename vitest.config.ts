import { defineConfig } from 'vitest/config';
import { CountsReporter } from './test/stack/counts-reporter.ts';
import { testFiles } from './test/stack/only-files.ts';

export default defineConfig({
  test: {
    environment: 'node',
    include: testFiles(),
    globalSetup: ['test/stack/run-wide.ts'],
    setupFiles: ['test/stack/clean-up.ts'],
    reporters: ['default', new CountsReporter()],
    // What the servers print matters only where a test fails.
    silent: 'passed-only',
    // RabbitMQ takes up to 10 s to come back after a kill, and a busy machine takes its time.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // One file at a time: the servers need the other cores.
    maxWorkers: 1,
  },
});
