/** Rules and policies over the management API, and why a user may do something. */
import { before, describe } from 'node:test';
import { onHome } from '../support/homes.ts';
import { Api, GUARDED, type Json } from './api.ts';

type Posted = ['POST', string, Json];

onHome(
  'disk',
  (home) => {
    const api = new Api(home);
    const rule = (body: Json): Posted => ['POST', '/rules', { role: 'reader', repositories: '**', ...body }];
    const policy = (body: Json): Posted => ['POST', '/policies', { repositories: 'in/**', ...body }];

    describe('rules', () => {
      api.table([
        {
          name: 'makes public',
          request: rule({ subject: 'anonymous', repositories: 'public/*' }),
          want: 201,
        },
        {
          name: 'lets the public only read',
          request: rule({ subject: 'anonymous', role: 'writer' }),
          want: 400,
          says: /role: of anonymous is reader/,
        },
        {
          name: 'gives to users',
          request: rule({ subject: 'user:bob', role: 'writer', tags: 'v*' }),
          want: 201,
          says: /"tags":"v\*"/,
        },
        {
          name: 'gives to groups',
          request: rule({ subject: 'group:dev', role: 'maintainer', repositories: 'team/*' }),
          want: 201,
        },
        {
          name: 'refuses subjects',
          request: rule({ subject: 'bob' }),
          want: 400,
          says: /subject: is user:NAME/,
        },
        {
          name: 'refuses subjects of two lines',
          request: rule({ subject: 'user:bob\nuser:eve' }),
          want: 400,
        },
        {
          name: 'refuses patterns',
          request: rule({ subject: 'user:bob', repositories: '***' }),
          want: 400,
          says: /repositories: /,
        },
        { name: 'lists them', request: ['GET', '/rules'], want: 200, says: /"subject":"user:bob"/ },
        { name: 'deletes a rule', request: ['DELETE', '/rules/2'], want: 204 },
        { name: 'deletes a rule only once', request: ['DELETE', '/rules/2'], want: 404 },
        {
          name: 'lists those that are left',
          request: ['GET', '/rules?n=1&last=1'],
          want: 200,
          says: /^\{"rules":\[\{"id":"3"/,
        },
      ]);
    });

    describe('policies', () => {
      api.table([
        {
          name: 'networks',
          request: policy({ kind: 'networks', networks: ['10.0.0.0/8', '::1'] }),
          want: 201,
        },
        {
          name: 'certificates',
          request: policy({ kind: 'certificate' }),
          want: 201,
          says: /"subjects":\[\]/,
        },
        { name: 'names', request: policy({ kind: 'create', repositories: 'team/*' }), want: 201 },
        {
          name: 'refuses networks',
          request: policy({ kind: 'networks', networks: ['10.0.0.0/8', '10/33'] }),
          want: 400,
          says: /networks\.1: is not a network/,
        },
        { name: 'refuses no networks', request: policy({ kind: 'networks', networks: [] }), want: 400 },
        { name: 'refuses kinds', request: policy({ kind: 'other' }), want: 400, says: /kind: / },
        { name: 'lists them', request: ['GET', '/policies'], want: 200, says: /10\.0\.0\.0/ },
        { name: 'removes', request: ['DELETE', '/policies/2'], want: 204 },
        { name: 'removes once', request: ['DELETE', '/policies/2'], want: 404 },
      ]);
    });

    describe('explanations', () => {
      const why = (subject: string, action: string, repository = 'team/x') =>
        ['GET', `/explain?${new URLSearchParams({ subject, action, repository })}`] as ['GET', string];
      before(async () => {
        await api.made('POST', '/users', { name: 'bob', groups: ['dev'] });
        await api.made('POST', '/tokens', {
          name: 'robot',
          grants: [{ role: 'writer', repositories: 'team/*', tags: 'v*' }],
        });
        await api.made('POST', '/tokens', {
          name: 'bobs',
          owner: 'bob',
          grants: [{ role: 'reader', repositories: '**' }],
        });
      });
      api.table([
        {
          name: 'of a group',
          request: why('group:dev', 'delete'),
          want: 200,
          says: /"allowed":true,"why":"maintainer of team\/\* for group:dev/,
        },
        {
          name: 'of a user by their group',
          request: why('user:bob', 'push'),
          want: 200,
          says: /"allowed":true/,
        },
        {
          name: 'of what no rule gives',
          request: why('user:bob', 'push', 'other/x'),
          want: 200,
          says: /"allowed":false,"why":"user:bob may not push other\/x/,
        },
        {
          name: 'of the admin of a setting',
          request: why('user:admin', 'delete', 'team/x'),
          want: 200,
          says: /"allowed":true.*ADMIN_PASSWORD/,
        },
        {
          name: 'of a robot, with its tags',
          request: why('token:robot', 'push'),
          want: 200,
          says: /"tags":\[\["v\*"\]\]/,
        },
        {
          name: 'of a narrowed token',
          request: why('token:bobs', 'push'),
          want: 200,
          says: /"allowed":false.*narrowed/,
        },
        {
          name: 'of the public',
          request: why('anonymous', 'pull', 'public/x'),
          want: 200,
          says: /"allowed":true/,
        },
        {
          name: 'of what is not public',
          request: why('anonymous', 'pull'),
          want: 200,
          says: /"allowed":false.*log in/,
        },
        {
          name: 'of networks',
          request: why('user:admin', 'pull', 'in/x'),
          want: 200,
          says: /"networks":\[\["10\.0\.0\.0\/8","::1"\]\]/,
        },
        {
          name: 'of names that no policy lets be',
          request: why('user:admin', 'push', 'else/x'),
          want: 200,
          says: /"allowed":false.*no policy lets a push create/,
        },
        {
          name: 'of a user who does not exist',
          request: why('user:missing', 'pull'),
          want: 404,
          says: /there is no user missing/,
        },
        { name: 'of no token', request: why('token:missing', 'pull'), want: 404 },
        { name: 'refuses actions', request: why('user:bob', 'dance'), want: 400, says: /action: / },
        { name: 'refuses names', request: why('user:bob', 'pull', 'UPPER'), want: 400, says: /NAME_INVALID/ },
      ]);
    });
  },
  GUARDED,
);
