package ssmproto

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Bounds of opening a connection. It may hang because of one packet that was
// lost while the network was down: TCP retransmits a SYN after 1, 3 and 7 s, a
// DNS resolver its query after 5 s, and the network may be back long before. So
// while connections hang, another attempt is started every second, and the
// first to succeed is used. The first attempt has the whole time, for slow
// paths; later ones have enough for round trips of almost a second, so that
// there are never more than four.
const (
	dialTimeout   = 15 * time.Second // in all
	besideEvery   = time.Second
	besideTimeout = 3 * time.Second
)

// dialNet opens the byte stream that a WebSocket to u runs on. If connected is
// not nil, it is called with the time that the successful attempt took.
func dialNet(ctx context.Context, u *url.URL, t *http.Transport, connected func(took time.Duration)) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	type result struct {
		conn *wire
		err  error
		took time.Duration
	}
	results := make(chan result)
	pending := 0
	beside := time.NewTimer(0)
	defer func() {
		beside.Stop()
		cancel()
		for ; pending > 0; pending-- {
			if r := <-results; r.conn != nil {
				r.conn.Close()
			}
		}
	}()
	limit := dialTimeout
	for {
		select {
		case <-beside.C:
			ctx, cancel := context.WithTimeout(ctx, limit)
			begun := time.Now()
			go func() {
				defer cancel()
				conn, err := dialOnce(ctx, u, t)
				results <- result{conn, err, time.Since(begun)}
			}()
			pending++
			limit = besideTimeout
			beside.Reset(besideEvery)
		case r := <-results:
			pending--
			var late net.Error
			switch {
			case r.err == nil:
				if connected != nil {
					connected(r.took)
				}
				return r.conn, nil
			case errors.As(r.err, &late) && late.Timeout(): // no answer; the next attempt may get one
			default:
				return nil, r.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// dialOnce opens one connection: TCP, through the proxy that t names for u if
// any, and TLS for wss. Doing this here instead of in the WebSocket library
// lets several frames share one TLS record.
func dialOnce(ctx context.Context, u *url.URL, t *http.Transport) (*wire, error) {
	secure := u.Scheme == "wss"
	w := &wire{}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dial := t.DialContext
		if dial == nil {
			dial = (&net.Dialer{Control: LimitReceiveBuffer}).DialContext
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		limitReceiveBuffer(conn)
		w.socket = newSocket(conn)
		return w.socket, nil
	}
	var err error
	if w.Conn, err = dialTCP(ctx, u, hostPort(u, secure), secure, t, dial); err != nil {
		return nil, err
	}
	if secure {
		if w.Conn, err = startTLS(ctx, w.Conn, u.Hostname(), t.TLSClientConfig); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// headStart is a connection that is opened before it is known to be needed: the
// host of a data channel follows from the region, or from the previous channel
// when a session is resumed, so that connecting overlaps with the API call.
type headStart struct {
	to     string // scheme and host
	cancel context.CancelFunc
	done   chan struct{} // closed once conn or err is set
	conn   *wire
	err    error
}

// startDial starts to dial address, of which only scheme and host matter, and
// calls connected as dialNet does. The caller must call drop.
func startDial(ctx context.Context, address string, t *http.Transport, connected func(took time.Duration)) *headStart {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &headStart{to: u.Scheme + u.Host, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.conn, h.err = dialNet(ctx, u, t, connected)
	}()
	return h
}

// take waits for the connection and returns it, or nil if it does not lead to u
// or could not be made.
func (h *headStart) take(ctx context.Context, u *url.URL) *wire {
	if h == nil || h.to != u.Scheme+u.Host {
		return nil
	}
	select {
	case <-h.done:
	case <-ctx.Done():
		return nil
	}
	conn := h.conn
	h.conn = nil
	return conn
}

// drop closes the connection if it was not taken, and returns once that is
// done.
func (h *headStart) drop() {
	if h == nil {
		return
	}
	h.cancel()
	<-h.done
	if h.conn != nil {
		h.conn.Close()
		h.conn = nil
	}
}

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

func startTLS(ctx context.Context, conn net.Conn, host string, config *tls.Config) (net.Conn, error) {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"http/1.1"}
	// Small records help a browser to show the first part of a page; here they
	// would only split batches of frames.
	config.DynamicRecordSizingDisabled = true
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

func hostPort(u *url.URL, secure bool) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if secure {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func contextError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// contextDialer adapts a dial function to the Dialer of golang.org/x/net/proxy.
type contextDialer func(ctx context.Context, network, address string) (net.Conn, error)

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d contextDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}
