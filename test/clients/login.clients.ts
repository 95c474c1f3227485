// Real clients log in to a registry with access control, push, pull and log out: as a user, as a robot, anonymously, with
// credentials that are wrong or have expired, and as a user who may not push. What they print is part of the test.
import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { GuardedRegistry, type Logins } from './support/guarded.ts';
import type { LoginClient, Person } from './support/login.ts';
import { loginClients } from './support/login-clients.ts';
import { scene } from './support/registry.ts';

describe('access control', () => {
  const registry = new GuardedRegistry();
  const here = scene('login', () => registry.start());
  beforeEach(() => registry.forgetFailures());

  const person = async (who: keyof Logins | null): Promise<Person> => {
    return { home: await here.fresh('home'), login: who === null ? null : registry.logins[who] };
  };

  /** A person whose client has the credentials, if it keeps any. */
  const loggedIn = async (client: LoginClient, who: keyof Logins): Promise<Person> => {
    const made = await person(who);
    await client.login?.(made, registry.logins[who]);
    return made;
  };

  for (const client of loginClients()) {
    describe(client.name, client.options, () => {
      const repository = (space: 'team' | 'public', name = 'seed') =>
        `${here.host}/${space}/${client.name.replaceAll(/\W+/g, '-')}/${name}`;
      before(async () => {
        await client.start(here);
        const admin = await loggedIn(client, 'admin');
        for (const space of ['team', 'public'] as const) await client.push(admin, repository(space));
      });

      for (const who of ['user', 'robot'] as const) {
        test(`${client.name}: a ${who} logs in, pushes, pulls, and logs out`, async () => {
          const from = registry.passed.length;
          const loggedInPerson = await loggedIn(client, who);
          await client.push(loggedInPerson, repository('team', who));
          await client.pull(loggedInPerson, repository('team', who));
          const requests = registry.passed.slice(from);
          const issued = requests.filter(({ path, status }) => path.startsWith('/token') && status === 200);
          assert.deepEqual([...new Set(issued.map(({ method }) => method))], client.asksWith);
          const done = requests.filter(({ path, status }) => path.startsWith('/v2/') && status < 300);
          assert.deepEqual(
            done.filter(({ authorization }) => !authorization?.startsWith('Bearer ')),
            [],
            'what was answered was asked for with a token',
          );

          await client.logout?.(loggedInPerson);
          const loggedOut = client.logout === null ? await person(null) : { ...loggedInPerson, login: null };
          const said = await refusalOf(client.pull(loggedOut, repository('team', who)));
          assert.match(said, client.says.anonymousPull);
        });
      }

      test(`${client.name}: an anonymous client pulls what is public, and may not push there`, async () => {
        const anonymous = await person(null);
        await client.pull(anonymous, repository('public'));
        const said = await refusalOf(client.push(anonymous, repository('public', 'anonymous')));
        assert.match(said, client.says.anonymousPush);
        assert.match(await refusalOf(client.pull(anonymous, repository('team'))), client.says.anonymousPull);
      });

      for (const [who, what] of [
        ['wrong', 'a wrong password'],
        ['expired', 'a token that has expired'],
      ] as const) {
        test(`${client.name}: ${what} is refused`, async () => {
          const loggedInPerson = await person(who);
          const login = () => client.login?.(loggedInPerson, registry.logins[who]);
          if (client.checksAtLogin) {
            assert.match(await refusalOf(login()), client.says[who]);
          } else {
            await login();
            assert.match(
              await refusalOf(client.push(loggedInPerson, repository('team', who))),
              client.says[who],
            );
            assert.match(await refusalOf(client.pull(loggedInPerson, repository('team'))), client.says[who]);
          }
        });
      }

      test(`${client.name}: who may only pull pulls, and is told why they may not push`, async () => {
        const reader = await loggedIn(client, 'reader');
        await client.pull(reader, repository('team'));
        const said = await refusalOf(client.push(reader, repository('team', 'reader')));
        assert.match(said, client.says.reader);
        // podman and skopeo try to mount first, and cannot read a challenge with the scopes of two repositories.
        assert.doesNotMatch(said, /failed to parse/i);
        await client.logout?.(reader);
      });
    });
  }
});

/** All that a client printed that did not end well. */
async function refusalOf(action: Promise<string> | undefined): Promise<string> {
  try {
    await action;
  } catch (fault) {
    return String(fault);
  }
  return assert.fail('this was not refused');
}
