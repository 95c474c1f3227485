// The commands for policies, trusts and pull secrets, and those that only look.
import { readFileSync } from 'node:fs';
import { all, type Command, done, made, removeNamed, secondsOf, segment } from './commands.ts';
import { CommandFailure } from './failure.ts';
import { table } from './table.ts';

/** `role:repositories[:tags]`; a claim in braces may hold colons. */
const GRANT = /^([a-z]+):((?:\{[^}]*\}|[^:{}])+)(?::(.+))?$/;

export const MORE_COMMANDS: Command[] = [
  {
    usage: 'policy add <networks|certificate|create>',
    options: { repositories: 'one', network: 'many', subject: 'many' },
    help: 'Asks for networks or certificates (of any --subject), or says which names a push may create.',
    async run({ api, positionals: [kind], values: { repositories, network, subject } }) {
      const more =
        kind === 'networks'
          ? { networks: all(network) }
          : kind === 'certificate'
            ? { subjects: all(subject) }
            : {};
      return made(api.call('POST', '/policies', { kind, repositories, ...more }));
    },
  },
  {
    usage: 'policy list',
    help: 'Lists policies.',
    run: async ({ api }) =>
      table(await api.list('/policies', 'policies'), ['id', 'kind', 'repositories', 'networks', 'subjects']),
  },
  {
    usage: 'policy remove <id>',
    help: 'Removes a policy.',
    run: ({ api, positionals: [id] }) => done(api.call('DELETE', `/policies/${segment(id)}`)),
  },
  {
    usage: 'trust add <name>',
    options: { issuer: 'one', audience: 'one', condition: 'many', grant: 'many', jwks: 'one' },
    help: 'Trusts an issuer: --condition repository=acme/* --grant writer:acme/{repository_name}[:tags]. --jwks names a file.',
    run: ({ api, positionals: [name], values: { issuer, audience, condition, grant, jwks: file } }) => {
      const conditions = Object.fromEntries(all(condition).map((text) => pair(text)));
      const grants = all(grant).map(grantOf);
      const jwks = typeof file === 'string' ? { jwks: keySetIn(file) } : {};
      return made(api.call('POST', '/trusts', { name, issuer, audience, conditions, grants, ...jwks }));
    },
  },
  {
    usage: 'trust list',
    help: 'Lists trusts.',
    run: async ({ api }) =>
      table(await api.list('/trusts', 'trusts'), [
        'id',
        'name',
        'issuer',
        'audience',
        'conditions',
        'grants',
      ]),
  },
  {
    usage: 'trust remove <name or id>',
    help: 'Trusts no more.',
    run: ({ api, positionals: [wanted] }) => removeNamed(api, 'trusts', wanted),
  },
  {
    usage: 'pull-secret add <name>',
    options: { repositories: 'many', namespace: 'one', 'secret-name': 'one', expires: 'one' },
    help: 'Makes a robot that pulls, and prints its Kubernetes Secret, for kubectl apply -f -.',
    run: async ({ api, positionals: [name], values }) => {
      const { repositories, namespace, 'secret-name': secretName, expires } = values;
      const body = {
        name,
        namespace,
        secretName,
        repositories: all(repositories),
        expiresIn: secondsOf(expires),
      };
      return String(await api.call('POST', '/pull-secrets', body, 'application/yaml'));
    },
  },
  {
    usage: 'keys rotate',
    options: { 'drop-old': 'flag' },
    help: 'Signs tokens with a new key. --drop-old ends all earlier tokens, for a key that may have leaked.',
    run: ({ api, values }) =>
      done(api.call('POST', '/keys/rotate', { dropOld: values['drop-old'] === true })),
  },
  {
    usage: 'audit',
    options: { n: 'one', actor: 'one', repository: 'one', decision: 'one' },
    help: 'Prints the newest events of the audit log, as JSON lines, newest first.',
    async run({ api, values }) {
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(values))
        if (value !== undefined) query.set(name, String(value));
      return String((await api.call('GET', `/audit?${query}`, undefined, 'application/x-ndjson')) ?? '');
    },
  },
  {
    usage: 'explain <subject> <pull|push|delete> <repository>',
    help: 'Says what somebody may do, and why.',
    async run({ api, positionals: [subject = '', action = '', repository = ''] }) {
      const query = new URLSearchParams({ subject, action, repository });
      const { allowed, why, ...rest } = (await api.call('GET', `/explain?${query}`)) as Record<
        string,
        unknown
      >;
      const conditions = ['tags', 'networks', 'certificates']
        .filter((name) => Array.isArray(rest[name]))
        .map(
          (name) =>
            `  only ${name}: ${(rest[name] as string[][]).map((list) => list.join(' or ')).join(', and ')}\n`,
        );
      return `${allowed ? 'allowed' : 'refused'}: ${why}\n${conditions.join('')}`;
    },
  },
  {
    usage: 'whoami',
    help: 'Says who these credentials are.',
    async run({ api }) {
      const { subject, admin } = (await api.call('GET', '/me')) as { subject: string; admin: boolean };
      return `${subject}${admin ? ' (admin)' : ''}\n`;
    },
  },
];

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new CommandFailure(`--condition is claim=pattern, and not ${text}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function grantOf(text: string): object {
  const [, role, repositories, tags] = GRANT.exec(text) ?? [];
  if (role === undefined)
    throw new CommandFailure(`--grant is role:repositories or role:repositories:tags, and not ${text}`);
  return { role, repositories, ...(tags === undefined ? {} : { tags }) };
}

/** The key set of an issuer that the registry cannot reach. */
function keySetIn(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (fault) {
    throw new CommandFailure(`--jwks ${file}: ${fault instanceof Error ? fault.message : fault}`);
  }
}
