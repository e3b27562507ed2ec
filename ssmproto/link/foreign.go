package link

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
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
		return clip.To(u.Host, maxHost)
	}
	return ""
}

// maxHost is the maximum length of a host name with its port.
const maxHost = 255 + len(":65535")

// UpgradeError means that the WebSocket's upgrade was refused.
type UpgradeError struct {
	Status int
	// Foreign reports that the response did not come from the service: see the
	// function Foreign. LeadsTo is the host that it redirects to, if any.
	Foreign bool
	LeadsTo string
}

func (e *UpgradeError) Error() string {
	switch {
	case !e.Foreign:
		return fmt.Sprintf("the data channel was refused with HTTP status %d", e.Status)
	case e.LeadsTo != "":
		return fmt.Sprintf("something on the way to the data channel answered in its place: HTTP status %d, which leads to %s", e.Status, e.LeadsTo)
	}
	return fmt.Sprintf("something on the way to the data channel answered in its place: HTTP status %d", e.Status)
}
