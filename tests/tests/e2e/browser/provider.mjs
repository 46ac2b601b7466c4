// An OpenID provider with four people: oidc-provider, certified by the OpenID Foundation, with nothing of ours between it and the
// console. A test without a browser chooses a person by `as` at the login that would be shown; with `pages`, the provider shows
// its own, which takes any password.
//
//   node provider.mjs '{"tools", "back", "secret", "host", "pages"}'
//
// Says its port on the first line.
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { tools, back, secret, host, pages } = JSON.parse(process.argv[2]);
const require = createRequire(path.join(tools, 'node_modules', 'x.js'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const GROUPS = {
  'op-7': ['staff', 'kvit-operators'],
  'dep-3': ['kvit-social'],
  'guest-1': ['staff'],
  'none-1': undefined,
};

const server = http.createServer();
await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
const issuer = `http://${host}:${server.address().port}`;
const client = (client_id) => ({ client_id, client_secret: secret, redirect_uris: [back] });
const provider = new Provider(issuer, {
  clients: [client('kvit'), client('another')],
  scopes: ['openid', 'groups'],
  claims: { openid: ['sub'], groups: ['groups'] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: pages } },
  cookies: { keys: ['a key of the test'] },
  pkce: { required: () => true },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: GROUPS[id] }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid groups');
    await grant.save();
    return grant;
  },
});
const serve = provider.callback();
server.on('request', (request, response) => {
  const url = new URL(request.url, issuer);
  if (pages || !url.pathname.startsWith('/interaction/')) return serve(request, response);
  return provider.interactionFinished(request, response, { login: { accountId: url.searchParams.get('as') } })
    .catch((error) => { response.writeHead(500).end(String(error)); });
});
console.log(server.address().port);
