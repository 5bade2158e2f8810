// A real OpenID provider for tests: `node provider.mjs PORT LIFETIME [CALLBACK]`. One line on standard output when it serves.
//
// With CALLBACK it has a second client, which a Backstage with that address signs people in as.
// Whatever login is typed in is that person; `groups` is `team-<login>`. ID tokens live LIFETIME seconds.
import Provider from 'oidc-provider';

const [port, lifetime] = process.argv.slice(2, 4).map(Number);
const callback = process.argv[4];
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'bondstone',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
  }, ...(callback ? [{
    client_id: 'backstage',
    client_secret: 'what Backstage is known by',
    redirect_uris: [callback],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }] : [])],
  scopes: ['openid', 'profile', 'email', 'offline_access'],
  claims: { openid: ['sub', 'groups'], profile: ['name'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  features: { deviceFlow: { enabled: true }, revocation: { enabled: true }, devInteractions: { enabled: true } },
  // Pages that are reloaded while they refresh would lose a token that is rotated.
  ttl: { IdToken: lifetime, AccessToken: (ctx, token, client) => (client.clientId === 'backstage' ? 3600 : 60), DeviceCode: 120, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
  pkce: { required: () => true },
  issueRefreshToken: async (ctx, client, code) => code.scopes.has('offline_access'),
  rotateRefreshToken: ctx => ctx.oidc.client.clientId !== 'backstage',
  cookies: { keys: ['a key of this test alone'] },
  findAccount: async (ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, name: id, groups: [`team-${id}`], email: `${id}@example.com`, email_verified: true }),
  }),
});
provider.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ issuer })));
