// A resource server's check by jose: one JSON document in, the claims or the refusal out.
import { createLocalJWKSet, jwtVerify } from 'jose'
import { text } from 'node:stream/consumers'

const asked = JSON.parse(await text(process.stdin))
try {
  const keys = createLocalJWKSet(asked.jwks)
  const options = { algorithms: asked.algorithms, audience: asked.audience, typ: 'at+jwt' }
  const { payload } = await jwtVerify(asked.token, keys, options)
  console.log(JSON.stringify({ claims: payload }))
} catch (raised) {
  console.log(JSON.stringify({ refusal: raised.code ?? raised.name }))
}
