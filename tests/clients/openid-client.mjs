// One exchange with openid-client, from discovery on. Asked on standard input, answered on output.
import * as openid from 'openid-client'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
const authentication = {
  client_secret_basic: () => openid.ClientSecretBasic(asked.client.secret),
  client_secret_post: () => openid.ClientSecretPost(asked.client.secret),
  private_key_jwt: async () =>
    openid.PrivateKeyJwt({
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
const config = await openid.discovery(
  new URL(asked.issuer),
  asked.client.id,
  undefined,
  await authentication[asked.client.method](),
  { algorithm: 'oauth2' },
)
try {
  const token = await openid.genericGrantRequest(
    config,
    'urn:ietf:params:oauth:grant-type:token-exchange',
    asked.parameters,
  )
  console.log(JSON.stringify({ token: { ...token, expires_in: token.expiresIn() } }))
} catch (raised) {
  console.log(JSON.stringify({ refusal: await refusal(raised) }))
}

// Where there is a challenge, the library shows that and leaves the body to be read.
async function refusal(raised) {
  if (raised instanceof openid.WWWAuthenticateChallengeError) {
    const { error, error_description } = await raised.response.json()
    const [{ scheme }] = raised.cause
    return { raised: raised.name, status: raised.status, error, error_description, scheme }
  }
  if (raised instanceof openid.ResponseBodyError) {
    const { error, error_description, name, status } = raised
    return { raised: name, status, error, error_description }
  }
  throw raised
}
