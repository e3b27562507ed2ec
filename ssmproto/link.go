package ssmproto

import (
	"net/http"
	"net/url"
	"syscall"

	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// ErrDeadPeer means that a link was given up because nothing arrived over it,
// not even pongs.
var ErrDeadPeer = link.ErrDeadPeer

// UpgradeError means that the WebSocket's upgrade was refused; see
// [link.UpgradeError].
type UpgradeError = link.UpgradeError

// ProxyError means that an HTTP proxy refused to connect to its Target; see
// [link.ProxyError].
type ProxyError = link.ProxyError

// NewProxyError returns the error for res, proxy's response to a CONNECT
// request for target.
func NewProxyError(proxy *url.URL, target string, res *http.Response) *ProxyError {
	return link.NewProxyError(proxy, target, res)
}

// Foreign reports whether res, though addressed to the service, is the response
// of something in between; see [link.Foreign].
func Foreign(res *http.Response) bool { return link.Foreign(res) }

// LeadsTo returns the host that a response redirects to, or "".
func LeadsTo(res *http.Response) string { return link.LeadsTo(res) }

// LimitReceiveBuffer is the Control of a net.Dialer for data channels: it
// limits how much is in flight on them, which works best before connecting. It
// is used if a Config's Transport has no DialContext.
func LimitReceiveBuffer(network, address string, c syscall.RawConn) error {
	return link.LimitReceiveBuffer(network, address, c)
}
