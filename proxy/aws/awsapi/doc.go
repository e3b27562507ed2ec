// Package awsapi calls AWS: configuration, credentials, endpoints, connections
// and repeated calls as ssmpipe needs them, and the sessions of Systems Manager
// that ssmproto opens by it.
//
// It may use the SDK, ssmproto, and proxy's rooms that know no cloud (ask, lastly,
// regular, safetext). Begin with [Load] for the configuration, and [Session].
package awsapi
