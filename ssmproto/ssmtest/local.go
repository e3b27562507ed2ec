package ssmtest

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"net/url"
)

// A Server runs programs as the user who started it, and every user of this
// machine can connect to loopback; so can web pages in a browser. Unguessable
// credentials, and a check of the request's headers, keep them out.

// newCredentials makes an access key ID and a secret, in the format of AWS.
func newCredentials() (accessKeyID, secret string) {
	return "AKIA" + rand.Text()[:16], rand.Text() + rand.Text()[:14]
}

// foreign reports whether r comes from a browser, or is addressed to another
// host: a name that was made to resolve to loopback (DNS rebinding). The port
// may be that of a relay in between.
func (s *Server) foreign(r *http.Request) bool {
	if len(r.Header.Values("Origin")) > 0 {
		return true
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	if host == "localhost" || host == s.cfg.Address || s.cfg.TLS && host == proxiedName {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsLoopback()
}
