/** Runs around every test file: what the file has left at the broker goes when its last hook is over. */
import { afterAll } from 'vitest';
import { removeOwnVhosts } from './addresses.ts';

afterAll(removeOwnVhosts);
