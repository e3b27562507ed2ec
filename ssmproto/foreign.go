package ssmproto

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Foreign says whether res, which seems to be the service's, is the answer of
// something on the way there: of a proxy that asks for a password or refuses, or
// of a network that wants people to log in on a page of its own. The service
// gives each answer an id, leads nowhere else and serves no pages.
func Foreign(res *http.Response) bool {
	if res.Header.Get("X-Amzn-Requestid") != "" {
		return false
	}
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusProxyAuthRequired, http.StatusNetworkAuthenticationRequired:
		return true
	}
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(res.Header.Get("Content-Type"))), "text/html")
}

// LeadsTo returns the host that a redirection leads to, or "".
func LeadsTo(res *http.Response) string {
	if u, err := url.Parse(res.Header.Get("Location")); err == nil {
		return clipTo(u.Host, maxHost)
	}
	return ""
}

// maxHost is the length of a host's name with its port.
const maxHost = 255 + len(":65535")

// ProxyError says that an HTTP proxy did not open the way to Target.
type ProxyError struct {
	Proxy  string // its URL without user and password
	Target string // host and port
	Code   int    // of its answer
	Status string // and its words
}

// NewProxyError returns what proxy, asked for a way to target, has answered.
func NewProxyError(proxy *url.URL, target string, res *http.Response) *ProxyError {
	words := strings.TrimSpace(strings.TrimPrefix(res.Status, fmt.Sprint(res.StatusCode)))
	if words == "" {
		words = http.StatusText(res.StatusCode)
	}
	return &ProxyError{Proxy: proxyName(proxy), Target: target, Code: res.StatusCode, Status: clipTo(words, 80)}
}

func (e *ProxyError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("proxy %s refused the way to %s: %d %s", e.Proxy, e.Target, e.Code, e.Status))
}

// RetryableError tells AWS's SDK whether to try again.
func (e *ProxyError) RetryableError() bool { return e.Code >= http.StatusInternalServerError }

// proxyName is a proxy's URL without what is secret in it.
func proxyName(u *url.URL) string { return u.Scheme + "://" + u.Host }
