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

// What is read of an answer, whoever gives it: of its head and, once it has been
// decompressed, of its body. The largest bodies are pages of inventories, which
// have a few MB.
const (
	maxAnswerHead = 64 << 10
	maxAnswer     = 32 << 20
)

var errAnswerTooLarge = fmt.Errorf("an answer of more than %d MiB", maxAnswer>>20)

// newHTTPClient returns the client that cfg's clients of APIs use, those that
// fetch credentials too.
func newHTTPClient() *awshttp.BuildableClient {
	return limitHeads(awshttp.NewBuildableClient())
}

// limitHeads returns a client like c that reads no head without end and knows a
// proxy's refusal from AWS's.
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

// proxyAnswered looks at a proxy's answer to CONNECT.
func proxyAnswered(_ context.Context, proxy *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	return ssmproto.NewProxyError(proxy, req.Host, res)
}

// guardAnswers has all clients of a configuration look at an answer before they
// believe in it.
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
	// The metadata services are on the machine, and answer in any form.
	if service := awsmw.GetServiceID(ctx); service == "" || service == "ec2imds" {
		return out, md, nil
	}
	if ssmproto.Foreign(res.Response) || body.isPage() {
		err = newForeignError(in, res)
	}
	return out, md, err
}

// answerStart takes up how an answer's body begins, of a call whose context has
// one at answerKey.
type answerStart struct{ text []byte }

type answerKey struct{}

const maxAnswerStart = 16 << 10

// limitedBody is a body of which no more than left bytes are read.
type limitedBody struct {
	io.ReadCloser
	left  int64
	seen  bytes.Reader // has been read already
	start *answerStart // nil: nobody wants it
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.seen.Len() > 0 {
		return b.seen.Read(p)
	}
	if b.left <= 0 {
		// At its very end it may have been exactly so long.
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

// isPage says whether the body is one for a browser, whatever its head says.
func (b *limitedBody) isPage() bool {
	start := make([]byte, 512) // what DetectContentType looks at
	n, _ := io.ReadFull(b, start)
	b.seen.Reset(start[:n])
	return strings.HasPrefix(http.DetectContentType(start[:n]), "text/html")
}

// ForeignError is an answer that is not AWS's: see ssmproto.Foreign.
type ForeignError struct {
	host    string // that was asked
	proxy   string // by way of it; "" if there is none
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
	text := strings.TrimSpace(fmt.Sprintf("%s answered in the place of %s: HTTP status %d %s", who, e.host, e.status, http.StatusText(e.status)))
	if e.leadsTo != "" {
		text += ", which leads to " + e.leadsTo
	}
	return text
}

// NextForProxy knows what is to be done about an error that is not AWS's but
// that of a proxy or a network on the way there; "" if err is none.
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
		return "check HTTPS_PROXY and NO_PROXY, or ask who runs the proxy to allow that host"
	}
	return "if this network wants you to log in (a captive portal), do that in a browser first; else check HTTPS_PROXY and NO_PROXY"
}

// guard is for a program's own configuration what Read does for ours.
func guard(cfg *aws.Config) {
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = limitHeads(own)
	}
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], guardAnswers)
}

const ProxyForm = "http://" + safetext.UserInfoForm + "@HOST:PORT, special characters as %XX"
