// Stands in for what a deployment has in front of the broker: a name, and TLS for it.
// The libraries see https and check all that they check there; nothing of them is changed.
const { BROKER_ISSUER: issuer, BROKER_URL: here } = process.env
const fetch = globalThis.fetch
globalThis.fetch = (url, options) => fetch(String(url).replace(issuer, here), options)
