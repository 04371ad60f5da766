// A client-credentials token by oauth4webapi from whichever URL. Asked on standard input.
import * as oauth from 'oauth4webapi'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
const server = { issuer: new URL(asked.url).origin, token_endpoint: asked.url }
const client = { client_id: asked.client }
const method = {
  client_secret_basic: oauth.ClientSecretBasic,
  client_secret_post: oauth.ClientSecretPost,
}[asked.method]
const response = await oauth.clientCredentialsGrantRequest(
  server,
  client,
  method(asked.secret),
  { scope: asked.scope },
  { [oauth.allowInsecureRequests]: true }, // loopback
)
try {
  const token = await oauth.processClientCredentialsResponse(server, client, response)
  console.log(JSON.stringify({ token }))
} catch (raised) {
  const { name, status, cause } = raised
  const challenge = raised instanceof oauth.WWWAuthenticateChallengeError
  const { error } = challenge ? await raised.response.json() : cause
  console.log(JSON.stringify({ refusal: { raised: name, status, error } }))
}
