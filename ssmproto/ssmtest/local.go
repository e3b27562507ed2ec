package ssmtest

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"net/url"
)

// A Server runs programs as the user who started it, and every user of this
// machine can connect to loopback; so can the pages in anybody's browser. What
// keeps them out are credentials that nobody can guess, and a look at who asks.

// newCredentials makes a key's ID and a secret, in the form of AWS's.
func newCredentials() (accessKeyID, secret string) {
	return "AKIA" + rand.Text()[:16], rand.Text() + rand.Text()[:14]
}

// foreign says whether r comes from a browser, or was meant for another host: a
// name that somebody has led to loopback (DNS rebinding). The port may be that of
// a relay in between.
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
