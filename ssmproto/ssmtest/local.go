package ssmtest

import (
	"crypto/rand"
	"net"
	"net/http"
)

// A Server runs programs as the user who started it, and every user of this
// machine can connect to loopback; so can the pages in anybody's browser. What
// keeps them out are credentials that nobody can guess, and a look at who asks.

// newCredentials makes a key's ID and a secret, in the form of AWS's.
func newCredentials() (accessKeyID, secret string) {
	return "AKIA" + rand.Text()[:16], rand.Text() + rand.Text()[:14]
}

// foreign says whether r comes from a browser, or was meant for another host: a
// name that somebody has led to loopback (DNS rebinding).
func (s *Server) foreign(r *http.Request) bool {
	if len(r.Header.Values("Origin")) > 0 {
		return true
	}
	addr := s.ln.Addr().(*net.TCPAddr)
	host, port, err := net.SplitHostPort(r.Host)
	if _, own, _ := net.SplitHostPort(addr.String()); err != nil || port != own {
		return true
	}
	switch host {
	case addr.IP.String(), "localhost":
		return false
	case proxiedName:
		return !s.cfg.TLS
	}
	return true
}
