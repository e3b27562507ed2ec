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

// wholeClient is the HTTP client of all clients of the API. It sends requests
// whole, which the SDK's own has no place for.
type wholeClient struct {
	http.Client
	transport *http.Transport
	dialer    *net.Dialer // the transport's
}

// SendWhole puts a wholeClient in the place of the SDK's own HTTP client, whose
// transport it takes over.
func SendWhole(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		c := &wholeClient{transport: own.GetTransport(), dialer: own.GetDialer()}
		c.Transport = wholeBody{c.transport}
		// A redirection is no answer of the API's, and the SDK says so.
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		cfg.HTTPClient = c
	}
}

// CloseIdle closes the connections that SendWhole's client keeps.
func CloseIdle(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*wholeClient); ok {
		own.transport.CloseIdleConnections()
	}
}

// Transport returns how the SDK reaches the service, for the WebSocket to do
// the same: AWS_CA_BUNDLE, HTTPS_PROXY and NO_PROXY are in it.
func Transport(cfg *aws.Config) *http.Transport {
	var t *http.Transport
	var d *net.Dialer
	switch c := cfg.HTTPClient.(type) {
	case *wholeClient:
		t, d = c.transport.Clone(), c.dialer
	case *awshttp.BuildableClient:
		t, d = c.GetTransport(), c.GetDialer()
	case *http.Client: // a program's own
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

// wholeBody sends a request's head and body at once. The SDK's bodies are of a
// type that net/http does not know to be in memory: it writes them separately,
// and looks once more for their end, which it finds to be closed if the answer
// was quick, and gives up the connection.
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
