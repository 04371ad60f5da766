// What a service does that is called with a token: oauth4webapi's check of RFC 9068 §4.
import * as oauth from 'oauth4webapi'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
const issuer = new URL(asked.issuer)
const server = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))
const request = new Request('https://service.test/', {
  headers: { authorization: `Bearer ${asked.token}` },
})
try {
  const claims = await oauth.validateJwtAccessToken(server, request, asked.audience)
  console.log(JSON.stringify({ claims }))
} catch (raised) {
  console.log(JSON.stringify({ refusal: { raised: raised.name, message: raised.message } }))
}
