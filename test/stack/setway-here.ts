/**
 * `npm run setway`: the command line, with the settings of the environment or, without any, those of the Setway that
 * `npm start` runs here.
 */
import { directSettings } from './deployment.ts';
import { findRunning, startPlace } from './local-setway.ts';

if (process.env['SETWAY_CATALOG_DATABASES'] === undefined) {
  const running = findRunning(startPlace(process.env).dir);
  if (running)
    Object.assign(process.env, directSettings(running.addresses), running.deployment.settings, process.env);
}
await import('../../functions/cli/main.ts');
