// Package awsapi calls AWS: it provides configuration, credentials, endpoints,
// connections and retries as ssmpipe needs them, and the Systems Manager
// sessions that ssmproto opens.
//
// It may import the SDK, ssmproto, and the packages of proxy that are
// independent of the cloud (ask, lastly, regular, safetext). Start with [Load]
// for the configuration, and [Session].
package awsapi
