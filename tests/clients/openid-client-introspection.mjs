// A resource server asks about a token, its client gives it back, and the resource server asks
// again: by openid-client, from discovery on. Asked on standard input, answered on output.
import * as openid from 'openid-client'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))

const configured = ({ id, secret }) =>
  openid.discovery(new URL(asked.issuer), id, undefined, openid.ClientSecretBasic(secret), {
    algorithm: 'oauth2',
  })
const resourceServer = await configured(asked.resource_server)

async function revoke(config) {
  try {
    await openid.tokenRevocation(config, asked.token)
    return 'revoked'
  } catch (raised) {
    if (raised instanceof openid.ResponseBodyError) return raised.error
    throw raised
  }
}

const before = await openid.tokenIntrospection(resourceServer, asked.token)
const stranger = await revoke(resourceServer)
const owner = await revoke(await configured(asked.client))
const after = await openid.tokenIntrospection(resourceServer, asked.token)
console.log(JSON.stringify({ before, stranger, owner, after }))
