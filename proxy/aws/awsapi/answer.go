package awsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Limits on what is read of any answer: its head and, after decompression, its
// body. The largest bodies are inventory pages of a few MB.
const (
	maxAnswerHead = 64 << 10
	maxAnswer     = 32 << 20
)

var errAnswerTooLarge = fmt.Errorf("an answer of more than %d MiB", maxAnswer>>20)

// newHTTPClient returns the HTTP client for cfg's API clients, including those
// that fetch credentials.
func newHTTPClient() *awshttp.BuildableClient {
	return limitHeads(awshttp.NewBuildableClient())
}

// limitHeads returns a client like c that limits the size of response heads and
// distinguishes a proxy's refusal from AWS's.
func limitHeads(c *awshttp.BuildableClient) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(t *http.Transport) {
		if t.MaxResponseHeaderBytes == 0 || t.MaxResponseHeaderBytes > maxAnswerHead {
			t.MaxResponseHeaderBytes = maxAnswerHead
		}
		if t.OnProxyConnectResponse == nil {
			t.OnProxyConnectResponse = proxyAnswered
		}
	})
}

// proxyAnswered checks a proxy's answer to CONNECT.
func proxyAnswered(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return ssmproto.NewProxyError(proxy, req.Host, res)
}

// guardAnswers makes all clients of a configuration check that an answer is
// plausible before they use it.
func guardAnswers(stack *smithymw.Stack) error {
	return stack.Deserialize.Add(answerGuard{}, smithymw.After) // next to the transport
}

type answerGuard struct{}

// ID implements the SDK's middleware.
func (answerGuard) ID() string { return "ssmpipe/answerGuard" }

// HandleDeserialize implements the SDK's middleware.
func (answerGuard) HandleDeserialize(ctx context.Context, in smithymw.DeserializeInput, next smithymw.DeserializeHandler) (
	smithymw.DeserializeOutput, smithymw.Metadata, error) {
	out, md, err := next.HandleDeserialize(ctx, in)
	res, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || res.Body == nil {
		return out, md, err
	}
	body := &limitedBody{ReadCloser: res.Body, left: maxAnswer}
	body.start, _ = ctx.Value(answerKey{}).(*answerStart)
	res.Body = body
	// The metadata services are on the machine, and their answers may have any
	// form.
	if service := awsmw.GetServiceID(ctx); service == "" || service == "ec2imds" {
		return out, md, nil
	}
	if ssmproto.Foreign(res.Response) || body.isPage() {
		err = newForeignError(in, res)
	}
	return out, md, err
}

// answerStart records the beginning of an answer's body, for a call whose
// context has an answerStart at answerKey.
type answerStart struct{ text []byte }

type answerKey struct{}

const maxAnswerStart = 16 << 10

// limitedBody is a body of which at most left bytes are read.
type limitedBody struct {
	io.ReadCloser
	left  int64
	seen  bytes.Reader // already read from the body
	start *answerStart // nil if not wanted
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.seen.Len() > 0 {
		return b.seen.Read(p)
	}
	if b.left <= 0 {
		// The body may end exactly at the limit.
		if n, err := b.ReadCloser.Read(make([]byte, 1)); n == 0 && err == io.EOF {
			return 0, io.EOF
		}
		return 0, errAnswerTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.start != nil {
		b.start.text = append(b.start.text, p[:min(n, maxAnswerStart-len(b.start.text))]...)
	}
	return n, err
}

// isPage reports whether the body is a page for a browser, whatever its head
// says.
func (b *limitedBody) isPage() bool {
	start := make([]byte, 512) // as much as DetectContentType uses
	n, _ := io.ReadFull(b, start)
	b.seen.Reset(start[:n])
	return strings.HasPrefix(http.DetectContentType(start[:n]), "text/html")
}

// ForeignError is an answer that does not come from AWS: see ssmproto.Foreign.
type ForeignError struct {
	host    string // the host that was asked
	proxy   string // the proxy in between; "" if none
	status  int
	leadsTo string
}

func newForeignError(in smithymw.DeserializeInput, res *smithyhttp.Response) *ForeignError {
	e := &ForeignError{status: res.StatusCode, leadsTo: ssmproto.LeadsTo(res.Response)}
	if req, ok := in.Request.(*smithyhttp.Request); ok {
		e.host = req.URL.Host
		if via, err := http.ProxyFromEnvironment(req.Request); err == nil && via != nil {
			e.proxy = via.Scheme + "://" + via.Host
		}
	}
	return e
}

func (e *ForeignError) Error() string {
	who := "something on the way"
	if e.proxy != "" {
		who = "proxy " + e.proxy
	}
	text := strings.TrimSpace(fmt.Sprintf("%s answered in place of %s: HTTP status %d %s", who, e.host, e.status, http.StatusText(e.status)))
	if e.leadsTo != "" {
		text += ", which leads to " + e.leadsTo
	}
	return text
}

// NextForProxy returns what to do about an error from a proxy or a network on
// the way to AWS, or "" if err is not such an error.
func NextForProxy(err error) string {
	var (
		via     *ssmproto.ProxyError
		foreign *ForeignError
		upgrade *ssmproto.UpgradeError
		status  int
	)
	switch {
	case errors.As(err, &via):
		status = via.Code
	case errors.As(err, &foreign):
		status = foreign.status
	case errors.As(err, &upgrade) && upgrade.Foreign:
		status = upgrade.Status
	default:
		return ""
	}
	switch {
	case status == http.StatusProxyAuthRequired:
		return "give the proxy's user and password in HTTPS_PROXY, as " + ProxyForm
	case via != nil && status < http.StatusMultipleChoices, via != nil && status >= http.StatusBadRequest:
		return "check HTTPS_PROXY and NO_PROXY, or ask whoever runs the proxy to allow that host"
	}
	return "if this network wants you to log in (a captive portal), do that in a browser first; otherwise check HTTPS_PROXY and NO_PROXY"
}

// guard does for a program's own configuration what Read does for ours.
func guard(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = limitHeads(own)
	}
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], guardAnswers)
}

const ProxyForm = "http://" + safetext.UserInfoForm + "@HOST:PORT, special characters as %XX"
