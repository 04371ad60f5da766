// A resource server asks about a token, its client gives it back, and the resource server asks
// again: by oauth4webapi, from discovery on. Asked on standard input, answered on output.
import * as oauth from 'oauth4webapi'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
const issuer = new URL(asked.issuer)
const server = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))

async function introspected() {
  const { id, secret } = asked.resource_server
  const client = { client_id: id }
  const authentication = oauth.ClientSecretBasic(secret)
  const response = await oauth.introspectionRequest(server, client, authentication, asked.token)
  return oauth.processIntrospectionResponse(server, client, response)
}

async function revoke({ id, secret }) {
  const authentication = oauth.ClientSecretBasic(secret)
  const response = await oauth.revocationRequest(
    server,
    { client_id: id },
    authentication,
    asked.token,
  )
  try {
    await oauth.processRevocationResponse(response)
    return 'revoked'
  } catch (raised) {
    if (raised instanceof oauth.ResponseBodyError) return raised.error
    throw raised
  }
}

const before = await introspected()
const stranger = await revoke(asked.resource_server)
const owner = await revoke(asked.client)
console.log(JSON.stringify({ before, stranger, owner, after: await introspected() }))
