/** Users and what they may do in a vhost. https://www.rabbitmq.com/docs/access-control */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { fieldsOf, textOf, textsOf, type Fields } from './found.ts';
import type { Management } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

export function userCalls(call: CallManagement): Management['users'] {
  return {
    async find(user) {
      const answer = await call({
        method: 'GET',
        path: pathOf('users', user),
        doing: `look at the user "${user}"`,
      });
      if (answer === undefined) return undefined;
      const fields = fieldsOf(answer);
      return {
        name: textOf(fields['name']),
        tags: textsOf(fields['tags']),
        hasPassword: (password) => isPassword(fields, password),
      };
    },
    async put(user, password) {
      // `tags` must be there, or RabbitMQ answers 400.
      await call({
        method: 'PUT',
        path: pathOf('users', user),
        doing: `create the user "${user}"`,
        body: { password, tags: '' },
      });
    },
    async remove(user) {
      await call({ method: 'DELETE', path: pathOf('users', user), doing: `delete the user "${user}"` });
    },
    async permissions(vhost, user) {
      const doing = `look at the permissions of "${user}" on "${vhost}"`;
      const answer = await call({ method: 'GET', path: pathOf('permissions', vhost, user), doing });
      if (answer === undefined) return undefined;
      const { configure, write, read } = fieldsOf(answer);
      return { configure: textOf(configure), write: textOf(write), read: textOf(read) };
    },
    async permit(vhost, user, { configure, write, read }) {
      await call({
        method: 'PUT',
        path: pathOf('permissions', vhost, user),
        doing: `give "${user}" its permissions on "${vhost}"`,
        body: { configure, write, read },
      });
    },
  };
}

const algorithms: Readonly<Record<string, string>> = {
  rabbit_password_hashing_sha256: 'sha256',
  rabbit_password_hashing_sha512: 'sha512',
};

/** A kept password is base64(salt + hash(salt + password)), the salt 4 bytes. https://www.rabbitmq.com/docs/passwords */
function isPassword(fields: Fields, password: string): boolean | 'unknown' {
  const algorithm = algorithms[textOf(fields['hashing_algorithm'])];
  const kept = Buffer.from(textOf(fields['password_hash']), 'base64');
  if (algorithm === undefined) return 'unknown';
  const salt = kept.subarray(0, 4);
  const hash = createHash(algorithm).update(salt).update(password, 'utf8').digest();
  return kept.length > 4 && hash.equals(kept.subarray(4));
}
