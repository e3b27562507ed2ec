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
// lost while the network was away: TCP sends a SYN again after 1, 3 and 7 s, a
// DNS resolver its question after 5 s, and the network may long be back. So
// another connection is begun beside one that hangs, every second, and the first
// to be made is taken. The one begun first has all the time there is, for paths
// that are slow; those beside it have enough for round trips of almost a second,
// so that there are never more than four.
const (
	dialTimeout   = 15 * time.Second // in all
	besideEvery   = time.Second
	besideTimeout = 3 * time.Second
)

// dialNet opens the byte stream that a WebSocket to u runs on. How long that
// connection took, from its own beginning, is told to connected, unless that is
// nil.
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
			case errors.As(r.err, &late) && late.Timeout(): // no answer, so perhaps to the next
			default:
				return nil, r.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// dialOnce opens one connection: TCP, through the proxy that t names for u if
// any, and TLS for wss. Doing it here, and not in the WebSocket library, lets
// several frames share one TLS record.
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

// headStart is a connection that is opened before it is known to be wanted: the
// host of a data channel follows from the region, and on a resumption from the
// channel before, so its set-up takes no time beyond the API call's.
type headStart struct {
	to     string // scheme and host
	cancel context.CancelFunc
	done   chan struct{} // closed once conn or err is set
	conn   *wire
	err    error
}

// startDial begins to dial address, of which only scheme and host count, and
// tells connected as dialNet does. The caller calls drop in the end.
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

// take returns the connection if it leads to u and was or is being opened.
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

// drop ends what was not taken, and returns when nothing is left of it.
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

// proxyFor asks t for the proxy of u, under the scheme that proxy settings
// know it by.
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

// maxHead is how many bytes of an answer's head are read, of a proxy or of the
// service: neither has proved anything by then.
const maxHead = 64 << 10

var errHeadTooLarge = fmt.Errorf("an answer's head of more than %d bytes", maxHead)

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
	// Nothing but the answer can be in the buffer: the far side speaks second.
	head := &io.LimitedReader{R: conn, N: maxHead}
	res, err := http.ReadResponse(bufio.NewReader(head), req)
	if err != nil && head.N == 0 {
		err = errHeadTooLarge
	}
	if err != nil {
		return failed(err)
	}
	// There is no body to read: what follows is the tunnel, or the end.
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
	// Small records help a browser show the first part of a page; here a
	// batch is written when it is ready and wants no splitting.
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

// contextDialer makes a dial function what golang.org/x/net/proxy forwards to.
type contextDialer func(ctx context.Context, network, address string) (net.Conn, error)

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d contextDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}
