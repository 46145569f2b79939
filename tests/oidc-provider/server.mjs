// An independent authorization server with a token-exchange grant (RFC 8693) that verifies real
// RS256 tokens. Prints one line of JSON: where it is, a good token, and three that are none.
import { webcrypto } from 'node:crypto';
import { createServer } from 'node:http';
import { SignJWT, generateKeyPair, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

// What Debian 12's Node.js lacks and the packages use.
globalThis.crypto ??= webcrypto;
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ISSUER = 'https://ci.example';

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const origin = `http://localhost:${server.address().port}`;

const trusted = await generateKeyPair('RS256');
const strange = await generateKeyPair('RS256');
const token = (key, { audience = 'connect', life = '5 min' } = {}) =>
  new SignJWT({ repository: 'acme/app' })
    .setProtectedHeader({ alg: 'RS256' })
    .setIssuer(ISSUER)
    .setAudience(audience)
    .setSubject('repo:acme/app:ref:refs/heads/main')
    .setExpirationTime(life)
    .sign(key);

const provider = new Provider(origin, {
  clients: [
    {
      client_id: 'ci',
      token_endpoint_auth_method: 'none',
      grant_types: [GRANT],
      redirect_uris: [],
      response_types: [],
      scope: 'publish',
    },
  ],
  scopes: ['publish'],
  features: { devInteractions: { enabled: false } },
});

provider.registerGrantType(
  GRANT,
  async (ctx) => {
    const { client, params } = ctx.oidc;
    try {
      await jwtVerify(params.subject_token, trusted.publicKey, {
        issuer: ISSUER,
        audience: 'connect',
      });
    } catch (error) {
      const why = `the subject token does not verify: ${error.code}`;
      throw new errors.CustomOIDCProviderError('invalid_grant', why);
    }
    if (params.scope && params.scope !== client.scope) {
      throw new errors.InvalidScope('the client may not have this scope', params.scope);
    }
    const { AccessToken } = ctx.oidc.provider;
    const issued = new AccessToken({ accountId: 'ci', client, gty: GRANT, scope: params.scope });
    ctx.oidc.entity('AccessToken', issued);
    ctx.body = {
      access_token: await issued.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: issued.expiration,
      scope: params.scope,
    };
  },
  ['subject_token', 'subject_token_type', 'requested_token_type', 'scope'],
);

server.on('request', provider.callback());
const line = {
  origin,
  good: await token(trusted.privateKey),
  forged: await token(strange.privateKey),
  expired: await token(trusted.privateKey, { life: '-5 min' }),
  elsewhere: await token(trusted.privateKey, { audience: 'api://AzureADTokenExchange' }),
};
console.log(JSON.stringify(line));
