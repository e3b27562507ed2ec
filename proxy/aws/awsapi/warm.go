package awsapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// warmAfter is how long credentials may take before the connection to the API
// is opened in parallel. Credentials from a file take no time; SSO, STS and the
// metadata service take several round trips, of which this saves two.
const warmAfter = 5 * time.Millisecond

// warmTimeout limits how long opening may take and how long the connection may
// then stay unused: a person may be looking for an MFA code, and servers close
// silent connections.
const warmTimeout = 10 * time.Second

// Warm is a connection to the API that is opened before it is needed.
type Warm struct {
	addr   string // host:port
	dialer tlsDialer
	timer  *time.Timer // nil if there is nothing to open
	cancel context.CancelFunc
	ready  chan net.Conn // receives the connection, if any, then is closed
	begun  time.Time     // set before ready is closed

	dropped sync.Once
}

// warmUp starts opening a connection to cfg's API after warmAfter. The caller
// must call Drop.
func warmUp(ctx context.Context, cfg aws.Config) *Warm {
	w := &Warm{}
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return w
	}
	w.dialer.t = client.GetTransport()
	u := Endpoint(ctx, cfg)
	if u == nil || u.Scheme != "https" || viaProxy(w.dialer.t, u) {
		return w
	}
	w.addr = u.Host
	if u.Port() == "" {
		w.addr += ":443"
	}
	ctx, w.cancel = context.WithTimeout(ctx, warmTimeout)
	w.ready = make(chan net.Conn, 1)
	w.timer = time.AfterFunc(warmAfter, func() {
		defer close(w.ready)
		w.begun = time.Now()
		conn, err := w.dialer.dial(ctx, "tcp", w.addr)
		if err == nil { // otherwise the caller that needs it tries again and reports the error
			w.ready <- conn
		}
	})
	return w
}

// use makes clients of cfg use the connection, if opening has begun.
func (w *Warm) use(cfg *aws.Config) {
	if w.timer == nil || w.timer.Stop() {
		w.timer = nil
		return
	}
	client := cfg.HTTPClient.(*awshttp.BuildableClient)
	cfg.HTTPClient = client.WithTransportOptions(func(t *http.Transport) { t.DialTLSContext = w.dial })
}

// dial is a transport's dial function. The first call returns the connection
// that has been or is being opened.
func (w *Warm) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr == w.addr {
		select {
		case conn := <-w.ready:
			if conn != nil && time.Since(w.begun) < warmTimeout {
				return conn, nil
			}
			if conn != nil {
				conn.Close()
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return w.dialer.dial(ctx, network, addr)
}

// Drop closes the connection if it was not used. It can be called again.
func (w *Warm) Drop() {
	w.dropped.Do(func() {
		if w.cancel != nil {
			w.cancel()
		}
		if w.timer == nil || w.timer.Stop() {
			return
		}
		for conn := range w.ready {
			conn.Close()
		}
	})
}

// Endpoint returns the URL where the SDK will find the API, or nil.
func Endpoint(ctx context.Context, cfg aws.Config) *url.URL {
	o := ssm.NewFromConfig(cfg).Options()
	e, err := o.EndpointResolverV2.ResolveEndpoint(ctx, ssm.EndpointParameters{
		Region:       &cfg.Region,
		Endpoint:     o.BaseEndpoint,
		UseFIPS:      aws.Bool(o.EndpointOptions.GetUseFIPSEndpoint() == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(o.EndpointOptions.GetUseDualStackEndpoint() == aws.DualStackEndpointStateEnabled),
	})
	if err != nil {
		return nil
	}
	return &e.URI
}

func viaProxy(t *http.Transport, u *url.URL) bool {
	if t.Proxy == nil {
		return false
	}
	proxy, err := t.Proxy(&http.Request{URL: u, Host: u.Host})
	return proxy != nil || err != nil
}

// tlsDialer opens connections the way a transport does.
type tlsDialer struct{ t *http.Transport }

func (d *tlsDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.t.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{}
	if d.t.TLSClientConfig != nil {
		config = d.t.TLSClientConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	if d.t.ForceAttemptHTTP2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if d.t.TLSHandshakeTimeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, d.t.TLSHandshakeTimeout)
		defer stop()
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}
