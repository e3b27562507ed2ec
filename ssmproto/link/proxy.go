package link

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/clip"
	"golang.org/x/net/proxy"
)

func dialTCP(ctx context.Context, u *url.URL, target string, secure bool, t *http.Transport, dial contextDialer) (net.Conn, error) {
	via, err := proxyFor(u, secure, t)
	if err != nil {
		return nil, err
	}
	if via == nil {
		return dial(ctx, "tcp", target)
	}
	switch via.Scheme {
	case "socks5", "socks5h":
		d, err := proxy.FromURL(via, dial)
		if err != nil {
			return nil, err
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", target)
	case "http", "https":
		conn, err := dial(ctx, "tcp", hostPort(via, via.Scheme == "https"))
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", proxyName(via), err)
		}
		if via.Scheme == "https" {
			if conn, err = startTLS(ctx, conn, via.Hostname(), t.TLSClientConfig); err != nil {
				return nil, fmt.Errorf("proxy %s: %w", proxyName(via), err)
			}
		}
		if err := connect(ctx, conn, target, via); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
	return nil, fmt.Errorf("proxy %s: unknown scheme", proxyName(via))
}

// proxyFor asks t for the proxy of u, with the scheme that proxy settings use.
func proxyFor(u *url.URL, secure bool, t *http.Transport) (*url.URL, error) {
	if t.Proxy == nil {
		return nil, nil
	}
	asked := *u
	asked.Scheme = "http"
	if secure {
		asked.Scheme = "https"
	}
	return t.Proxy(&http.Request{Method: http.MethodGet, URL: &asked, Host: u.Host, Header: http.Header{}})
}

// maxHead is how many bytes are read of the header of a response, from a proxy
// or from the service: neither is authenticated by then.
const maxHead = 64 << 10

var errHeadTooLarge = fmt.Errorf("the response header has more than %d bytes", maxHead)

// connect asks the HTTP proxy via for a tunnel to target.
func connect(ctx context.Context, conn net.Conn, target string, via *url.URL) error {
	failed := func(err error) error {
		return fmt.Errorf("proxy %s: %w", proxyName(via), contextError(ctx, err))
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if user := via.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+
			base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return failed(err)
	}
	// The buffer holds only the response: the far side waits for us to speak.
	head := &io.LimitedReader{R: conn, N: maxHead}
	res, err := http.ReadResponse(bufio.NewReader(head), req)
	if err != nil && head.N == 0 {
		err = errHeadTooLarge
	}
	if err != nil {
		return failed(err)
	}
	// There is no body to read: the tunnel follows, or the connection ends.
	if res.StatusCode != http.StatusOK {
		return NewProxyError(via, target, res)
	}
	return nil
}

// contextDialer adapts a dial function to the Dialer of golang.org/x/net/proxy.
type contextDialer func(ctx context.Context, network, address string) (net.Conn, error)

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d contextDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

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
	return &ProxyError{Proxy: proxyName(proxy), Target: target, Code: res.StatusCode, Status: clip.To(words, 80)}
}

func (e *ProxyError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("proxy %s refused to connect to %s: %d %s", e.Proxy, e.Target, e.Code, e.Status))
}

// RetryableError tells the AWS SDK whether to retry.
func (e *ProxyError) RetryableError() bool { return e.Code >= http.StatusInternalServerError }

// proxyName returns a proxy's URL without user and password.
func proxyName(u *url.URL) string { return u.Scheme + "://" + u.Host }
