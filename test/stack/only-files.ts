/** Which files a run of the tests looks at. */

/** Holds paths from the root of the repository as a JSON array. */
export const onlyVariable = 'SETWAY_TEST_ONLY';

/** For `include` of vitest's configuration: all, or only those that are named. */
export function testFiles(env: NodeJS.ProcessEnv = process.env): string[] {
  const named = env[onlyVariable];
  return named === undefined ? ['test/**/*.test.ts'] : (JSON.parse(named) as string[]);
}
