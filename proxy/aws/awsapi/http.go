package awsapi

import (
	"bytes"
	"io"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// wholeClient is the HTTP client for all API clients. It sends each request in
// one write, which the SDK's own client cannot be configured to do.
type wholeClient struct {
	http.Client
	transport *http.Transport
	dialer    *net.Dialer // the transport's dialer
}

// SendWhole replaces the SDK's HTTP client with a wholeClient that uses the
// same transport.
func SendWhole(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		c := &wholeClient{transport: own.GetTransport(), dialer: own.GetDialer()}
		c.Transport = wholeBody{c.transport}
		// The API does not redirect, and the SDK reports a redirection as an
		// error.
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		cfg.HTTPClient = c
	}
}

// CloseIdle closes the idle connections of SendWhole's client.
func CloseIdle(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*wholeClient); ok {
		own.transport.CloseIdleConnections()
	}
}

// Transport returns the SDK's HTTP transport, so that the WebSocket uses the
// same settings, including AWS_CA_BUNDLE, HTTPS_PROXY and NO_PROXY.
func Transport(cfg *aws.Config) *http.Transport {
	var t *http.Transport
	var d *net.Dialer
	switch c := cfg.HTTPClient.(type) {
	case *wholeClient:
		t, d = c.transport.Clone(), c.dialer
	case *awshttp.BuildableClient:
		t, d = c.GetTransport(), c.GetDialer()
	case *http.Client: // the program's own client
		if own, ok := c.Transport.(*http.Transport); ok {
			t = own.Clone()
		}
	}
	if d != nil && d.Control == nil && d.ControlContext == nil {
		limited := *d
		limited.Control = ssmproto.LimitReceiveBuffer
		t.DialContext = limited.DialContext
	}
	return t
}

// wholeBody sends a request's head and body at once. The SDK's bodies have a
// type that net/http does not recognize as being in memory. So net/http writes
// head and body separately, then reads the body once more to find its end. If
// the answer came quickly, the body is closed by then, and net/http drops the
// connection.
type wholeBody struct{ http.RoundTripper }

func (w wholeBody) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		whole := *r
		whole.Body = io.NopCloser(bytes.NewReader(body))
		whole.ContentLength = int64(len(body))
		r = &whole
	}
	return w.RoundTripper.RoundTrip(r)
}
