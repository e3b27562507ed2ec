package ssmproto

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Foreign reports whether res, though addressed to the service, is the response
// of something in between: of a proxy that requires a password or refuses, or
// of a network with a login page. The service gives each response an id, and
// sends neither redirections nor web pages.
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

// LeadsTo returns the host that a response redirects to, or "".
func LeadsTo(res *http.Response) string {
	if u, err := url.Parse(res.Header.Get("Location")); err == nil {
		return clipTo(u.Host, maxHost)
	}
	return ""
}

// maxHost is the maximum length of a host name with its port.
const maxHost = 255 + len(":65535")

// ProxyError means that an HTTP proxy refused to connect to Target.
type ProxyError struct {
	Proxy  string // its URL without user and password
	Target string // host and port
	Code   int    // the response's status code
	Status string // and the text with it
}

// NewProxyError returns the error for res, proxy's response to a CONNECT
// request for target.
func NewProxyError(proxy *url.URL, target string, res *http.Response) *ProxyError {
	words := strings.TrimSpace(strings.TrimPrefix(res.Status, fmt.Sprint(res.StatusCode)))
	if words == "" {
		words = http.StatusText(res.StatusCode)
	}
	return &ProxyError{Proxy: proxyName(proxy), Target: target, Code: res.StatusCode, Status: clipTo(words, 80)}
}

func (e *ProxyError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("proxy %s refused to connect to %s: %d %s", e.Proxy, e.Target, e.Code, e.Status))
}

// RetryableError tells the AWS SDK whether to retry.
func (e *ProxyError) RetryableError() bool { return e.Code >= http.StatusInternalServerError }

// proxyName returns a proxy's URL without user and password.
func proxyName(u *url.URL) string { return u.Scheme + "://" + u.Host }
