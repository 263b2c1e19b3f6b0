/**
 * What `npm start` and `npm test` begin with, on whatever Node is there (>= 18): installs the dependencies when they
 * are missing or not those of package-lock.json, then runs the given TypeScript file with a Node that can.
 *
 * Usage: node test/stack/bootstrap.mjs <file.ts> [arguments]
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** From here on Node strips types without a flag or a warning. */
const oldestNode = [22, 18];

const repoDir = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const binDir = path.join(repoDir, 'node_modules', '.bin');

const differing = findDiffering();
if (differing !== undefined) install(differing);
run(findNode(), process.argv.slice(2));

/** The first reason why node_modules is not what package-lock.json asks for; undefined when it is. */
function findDiffering() {
  const wanted = readLock(path.join(repoDir, 'package-lock.json'));
  const installed = readLock(path.join(repoDir, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return 'nothing is installed';
  for (const [place, { version, optional, devOptional, link }] of Object.entries(wanted ?? {})) {
    if (place === '' || link) continue;
    const found = installed[place]?.version;
    const mayLack = (optional || devOptional) && found === undefined; // made for another system
    if (found !== version && !mayLack) return `${place} is ${found ?? 'missing'}, wanted ${version}`;
  }
  return undefined;
}

function readLock(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : undefined;
}

function install(reason) {
  console.error(`dependencies: ${reason}; running npm ci`);
  const begin = Date.now();
  const npm = process.env.npm_execpath;
  const [command, args] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  const shell = process.platform === 'win32';
  const { status, error } = spawnSync(command, [...args, 'ci', '--loglevel=error'], {
    cwd: repoDir,
    stdio: ['inherit', 2, 2], // standard output belongs to the program: it may be read by another one
    shell,
  });
  if (status !== 0)
    fail(`npm ci failed${error ? `: ${error.message}` : ''}. Run it by hand in ${repoDir} to see why.`);
  console.error(`dependencies: installed in ${((Date.now() - begin) / 1000).toFixed(0)} s`);
}

function findNode() {
  const node = [process.execPath, path.join(binDir, 'node')].find(isNewEnough);
  if (node !== undefined) return node;
  const wanted = oldestNode.join('.');
  return fail(
    `Setway needs Node ${wanted} or newer; this is ${process.versions.node}. Install one from https://nodejs.org.`,
  );
}

function isNewEnough(node) {
  try {
    const version = execFileSync(node, ['-p', 'process.versions.node'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [major, minor] = version.split('.').map(Number);
    return major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  } catch {
    return false; // not there, or built for another system
  }
}

/** Becomes the program as far as others can tell: same signals, same end. It stays until the program has ended. */
function run(node, args) {
  const env = { ...process.env, PATH: [binDir, process.env.PATH].join(path.delimiter) };
  const child = spawn(node, args, { stdio: 'inherit', env });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => child.kill(name));
  child.on('error', (error) => fail(`cannot run ${node}: ${error.message}`));
  child.on('exit', (code, name) => process.exit(code ?? 128 + constants.signals[name]));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
