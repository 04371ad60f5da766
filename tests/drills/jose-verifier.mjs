// A resource server with jose: a token a line in, "ok" or what was wrong a line out.
//
// It caches the JWK Set as jose does by itself: for a time, and in that time it asks again for no
// key that it does not find. Where it asks is a load balancer's choice: one of those that are up.
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { createInterface } from 'node:readline'

const [cache, patience] = process.argv.slice(1).map(Number)
let up = []
let fetches = 0
const keys = createRemoteJWKSet(new URL('http://keys.invalid/jwks'), {
  cacheMaxAge: cache,
  cooldownDuration: cache,
  timeoutDuration: patience,
  [customFetch]: (_, options) => {
    fetches += 1
    return fetch(up[Math.floor(Math.random() * up.length)], options)
  },
})
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  up = asked.up
  let said
  do {
    said = 'ok'
    await jwtVerify(asked.token, keys, { algorithms: ['ES256'], typ: 'at+jwt' }).catch((raised) => {
      said = `${raised.code}: ${raised.message}`
    })
    // Nobody answered: as a service would, it asks again, and another one is there.
  } while (said.startsWith('ERR_JWKS_TIMEOUT'))
  console.log(JSON.stringify({ said, fetches }))
}
