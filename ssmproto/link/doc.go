// Package link is a WebSocket to a service that is found to be dead, or its
// network to have changed, early: dialling with a head start and through
// proxies, frames, and the watch on silence and on the network.
//
// It knows nothing of what the messages say, so that every cloud's data channel
// can use it. It may import ssmproto/clip and ssmproto/rawio. Start with [Link],
// then read dial.go for connecting, watch.go and vigil.go for silence, and
// roam.go for changes of the network.
package link
