// One exchange with oauth4webapi, from discovery on. Asked on standard input, answered on output.
import * as oauth from 'oauth4webapi'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
const issuer = new URL(asked.issuer)
const server = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
const client = { client_id: asked.client.id }
const authentication = {
  client_secret_basic: () => oauth.ClientSecretBasic(asked.client.secret),
  client_secret_post: () => oauth.ClientSecretPost(asked.client.secret),
  private_key_jwt: async () =>
    oauth.PrivateKeyJwt({
      key: await crypto.subtle.importKey(
        'jwk',
        asked.client.key,
        { name: 'ECDSA', namedCurve: 'P-256' },
        false,
        ['sign'],
      ),
      kid: asked.client.key.kid,
    }),
}
try {
  const response = await oauth.genericTokenEndpointRequest(
    server,
    client,
    await authentication[asked.client.method](),
    'urn:ietf:params:oauth:grant-type:token-exchange',
    asked.parameters,
  )
  const token = await oauth.processGenericTokenEndpointResponse(server, client, response)
  console.log(JSON.stringify({ token }))
} catch (raised) {
  console.log(JSON.stringify({ refusal: await refusal(raised) }))
}

// Where there is a challenge, the library shows that and leaves the body to be read.
async function refusal(raised) {
  if (raised instanceof oauth.WWWAuthenticateChallengeError) {
    const { error, error_description } = await raised.response.json()
    const [{ scheme }] = raised.cause
    return { raised: raised.name, status: raised.status, error, error_description, scheme }
  }
  if (raised instanceof oauth.ResponseBodyError) {
    const { error, error_description, name, status } = raised
    return { raised: name, status, error, error_description }
  }
  throw raised
}
