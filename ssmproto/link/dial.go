package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Bounds of opening a connection. It may hang because of one packet that was
// lost while the network was down: TCP retransmits a SYN after 1, 3 and 7 s, a
// DNS resolver its query after 5 s, and the network may be back long before. So
// while connections hang, another attempt is started every second, and the
// first to succeed is used. The first attempt has the whole time, for slow
// paths; later ones have enough for round trips of almost a second, so that
// there are never more than four.
const (
	DialTimeout   = 15 * time.Second // in all
	besideEvery   = time.Second
	besideTimeout = 3 * time.Second
)

// dialNet opens the byte stream that a WebSocket to u runs on. If connected is
// not nil, it is called with the time that the successful attempt took.
func dialNet(ctx context.Context, u *url.URL, t *http.Transport, connected func(took time.Duration)) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
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
	limit := DialTimeout
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

// HeadStart is a connection that is opened before it is known to be needed: the
// host of a data channel follows from the region, or from the previous channel
// when a session is resumed, so that connecting overlaps with the API call.
type HeadStart struct {
	to     string // scheme and host
	cancel context.CancelFunc
	done   chan struct{} // closed once conn or err is set
	conn   *wire
	err    error
}

// StartDial starts to connect to address, a ws or wss URL of which only scheme
// and host matter. If connected is not nil, it is called with the time that the
// successful attempt took. StartDial returns nil, which is a valid
// HeadStart, if address is no such URL. The caller must call Drop.
func StartDial(ctx context.Context, address string, t *http.Transport, connected func(took time.Duration)) *HeadStart {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil
	}
	return start(ctx, u, t, connected)
}

func start(ctx context.Context, u *url.URL, t *http.Transport, connected func(took time.Duration)) *HeadStart {
	ctx, cancel := context.WithCancel(ctx)
	h := &HeadStart{to: u.Scheme + u.Host, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.conn, h.err = dialNet(ctx, u, t, connected)
	}()
	return h
}

// take waits for the connection and returns it, or nil if it does not lead to u
// or could not be made.
func (h *HeadStart) take(ctx context.Context, u *url.URL) *wire {
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

// Drop closes the connection if it was not taken, and returns once that is
// done.
func (h *HeadStart) Drop() {
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
