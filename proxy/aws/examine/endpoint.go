package examine

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// probeLimit limits the time to reach one endpoint.
const probeLimit = 5 * time.Second

// The steps to reach an endpoint.
const (
	stepDNS   = "DNS"
	stepTCP   = "TCP"
	stepProxy = "proxy"
	stepTLS   = "TLS"
	stepHTTP  = "HTTP"
)

// probe is an attempt to reach one endpoint with the SDK's own transport. The
// fields after done may be read once done is closed.
type probe struct {
	service string
	region  string
	url     *url.URL
	via     *url.URL // the proxy, or nil
	cancel  context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex // the transport may go on after the request has ended
	step   string     // the last one begun
	addrs  []net.IPAddr
	answer string // the proxy's to CONNECT

	took time.Duration
	date time.Time // of the answer
	at   time.Time // when the answer came
	err  error
}

// startProbes starts probes of all endpoints concurrently.
func (e *examination) startProbes(ctx context.Context) {
	e.startProbe(ctx, "ssm", awsapi.Endpoint(ctx, e.cfg))
	messages, err := url.Parse(awsapi.NewSession(e.cfg, ssm.StartSessionInput{}).ExpectedEndpoint())
	if err != nil || messages.Host == "" {
		messages = nil
	}
	e.startProbe(ctx, "ssmmessages", messages)
	e.startProbe(ctx, "ec2", ec2Endpoint(ctx, e.cfg))
	if e.PushKey {
		e.startProbe(ctx, "ec2-instance-connect", instanceConnectEndpoint(ctx, e.cfg))
	}
}

func (e *examination) startProbe(ctx context.Context, service string, u *url.URL) *probe {
	ctx, cancel := context.WithTimeoutCause(ctx, probeLimit, fmt.Errorf("no answer within %v", probeLimit))
	p := &probe{service: service, region: e.cfg.Region, url: u, cancel: cancel, done: make(chan struct{}), step: stepDNS}
	e.probes[service] = p
	go func() {
		defer close(p.done)
		defer cancel()
		if u == nil {
			p.err = errors.New("no endpoint is known for this region and these settings")
			return
		}
		p.walk(ctx, awsapi.Transport(&e.cfg))
	}()
	return p
}

// walk sends a request to the endpoint. Any response will do.
func (p *probe) walk(ctx context.Context, t *http.Transport) {
	to := *p.url
	to.Scheme = strings.Replace(to.Scheme, "ws", "http", 1)
	to.Path, to.RawQuery = "/", ""
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, p.trace()), http.MethodHead, to.String(), nil)
	if err != nil {
		p.err = err
		return
	}
	if t == nil {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	t.DialTLSContext = nil // it would return an existing connection
	defer t.CloseIdleConnections()
	if t.Proxy != nil {
		if p.via, p.err = t.Proxy(req); p.err != nil {
			p.step = stepProxy
			return
		}
	}
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answer = res.Status
		return nil
	}
	begun := time.Now()
	res, err := t.RoundTrip(req)
	p.took = time.Since(begun)
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if p.err = err; err != nil {
		return
	}
	res.Body.Close()
	p.at = time.Now()
	p.date, _ = http.ParseTime(res.Header.Get("Date"))
}

// trace returns a ClientTrace that records how far the request has got.
func (p *probe) trace() *httptrace.ClientTrace {
	reached := func(step string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.step = step
	}
	next := func() string { // after TCP, and after the proxy's TLS
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.via != nil && p.answer == "" {
			return stepProxy
		}
		return stepHTTP
	}
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { reached(stepDNS) },
		DNSDone: func(info httptrace.DNSDoneInfo) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.addrs = info.Addrs
		},
		ConnectStart: func(string, string) { reached(stepTCP) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				reached(next())
			}
		},
		TLSHandshakeStart: func() { reached(stepTLS) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				reached(next())
			}
		},
	}
}

// wait waits for the end of the probe, which has a limit of its own.
func (p *probe) wait(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}

// skew returns how far the endpoint's clock is ahead of ours.
func (p *probe) skew() (time.Duration, bool) {
	select {
	case <-p.done:
	default:
		return 0, false
	}
	return p.date.Sub(p.at), !p.date.IsZero()
}

// endpoint returns a check that reports the result of a probe.
func (e *examination) endpoint(service string) func(context.Context) driver.Finding {
	return func(ctx context.Context) driver.Finding {
		p := e.probes[service]
		p.wait(ctx)
		if ctx.Err() != nil {
			return e.bad(driver.StatusFailed, context.Cause(ctx), "")
		}
		f := p.finding()
		if f.Status == driver.StatusFailed && service != "ssm" && service != "ssmmessages" {
			f.Status, f.Blocks = driver.StatusWarning, true // ids work without names, and sessions without either
			if service == "ec2" {
				f.Remedy += "; without it only the names that Systems Manager knows can be used"
			}
		}
		return f
	}
}

func (p *probe) finding() driver.Finding {
	if p.url == nil {
		return driver.Finding{Status: driver.StatusFailed, Detail: p.err.Error(), Remedy: "check the region's name, and AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.url.Host
	switch {
	case p.via != nil:
		text += fmt.Sprintf(" through the proxy %s://%s", p.via.Scheme, p.via.Host)
	case len(p.addrs) > 0:
		text += " (" + p.addresses() + ")"
	}
	if p.err != nil {
		return driver.Finding{Status: driver.StatusFailed, Detail: fmt.Sprintf("%s: %s: %s", text, p.step, p.cause()), Remedy: p.remedy()}
	}
	return ok("%s answers after %d ms", text, p.took.Milliseconds())
}

// addresses describes some of the addresses, and what they mean if they are
// private to a VPC.
func (p *probe) addresses() string {
	const few = 2
	var list []string
	private := true
	for i, a := range p.addrs {
		if i < few {
			list = append(list, a.String())
		}
		private = private && a.IP.IsPrivate()
	}
	if len(p.addrs) > few {
		list = append(list, fmt.Sprintf("%d more", len(p.addrs)-few))
	}
	if private {
		list = append(list, "an interface endpoint")
	}
	return strings.Join(list, ", ")
}

func (p *probe) cause() string {
	var untrusted *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(p.err, &dns) && dns.Server != "":
		return fmt.Sprintf("%s, says %s", dns.Err, dns.Server)
	case p.step == stepProxy && p.answer != "":
		return "CONNECT: " + p.answer
	case errors.As(p.err, &untrusted) && len(untrusted.UnverifiedCertificates) > 0:
		return fmt.Sprintf("%v (issued by %s)", untrusted.Err, untrusted.UnverifiedCertificates[0].Issuer)
	}
	return p.err.Error()
}

// remedy returns what helps when a step has failed.
func (p *probe) remedy() string {
	host := net.JoinHostPort(p.url.Hostname(), cmp.Or(p.url.Port(), "443"))
	vpc := fmt.Sprintf("com.amazonaws.%s.%s", p.region, p.service)
	var (
		expired x509.CertificateInvalidError
		name    x509.HostnameError
		record  tls.RecordHeaderError
	)
	switch p.step {
	case stepDNS, stepTCP:
		if _, err := url.Parse(cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))); err != nil {
			return "HTTPS_PROXY is not a URL, and has no effect: write it as " + awsapi.ProxyForm
		}
		if p.via != nil {
			return fmt.Sprintf("HTTPS_PROXY names %s, which cannot be reached: correct it, or unset it; NO_PROXY makes exceptions", p.via.Host)
		}
		if p.step == stepDNS {
			return fmt.Sprintf("check the network's DNS, and the region's name; in a VPC without internet access, create an interface endpoint for %s, with private DNS names", vpc)
		}
		return fmt.Sprintf("allow this machine to connect to %s, or set HTTPS_PROXY; if that is an interface endpoint (%s), its security group must allow this machine", host, vpc)
	case stepProxy:
		if strings.HasPrefix(p.answer, "407") {
			return "the proxy requires a user and a password: write HTTPS_PROXY as " + awsapi.ProxyForm
		}
		return fmt.Sprintf("ask for the proxy to allow CONNECT to %s, or exempt that with NO_PROXY", host)
	case stepTLS:
		switch {
		case errors.As(p.err, &expired) && expired.Reason == x509.Expired:
			return "check this machine's clock"
		case errors.As(p.err, &name):
			return "the certificate is for another name: check AWS_ENDPOINT_URL and similar settings, and DNS"
		case errors.As(p.err, &record):
			return "what answers there does not speak TLS: it may be a captive portal, or a proxy that HTTPS_PROXY should name"
		}
		if bundle := os.Getenv("AWS_CA_BUNDLE"); bundle != "" {
			return fmt.Sprintf("%s, which AWS_CA_BUNDLE names, does not contain that authority: add its certificate, or unset AWS_CA_BUNDLE if nothing intercepts TLS", bundle)
		}
		return "something intercepts TLS, such as a company's proxy: save the certificate of its authority to a file, and set AWS_CA_BUNDLE to that file"
	}
	return "something on the way accepts the connection but does not answer: check firewalls and HTTPS_PROXY"
}

func ec2Endpoint(ctx context.Context, cfg aws.Config) *url.URL {
	o := ec2.NewFromConfig(cfg).Options()
	e, err := o.EndpointResolverV2.ResolveEndpoint(ctx, ec2.EndpointParameters{
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

func instanceConnectEndpoint(ctx context.Context, cfg aws.Config) *url.URL {
	o := ec2instanceconnect.NewFromConfig(cfg).Options()
	e, err := o.EndpointResolverV2.ResolveEndpoint(ctx, ec2instanceconnect.EndpointParameters{
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

func kmsEndpoint(ctx context.Context, cfg aws.Config) *url.URL {
	o := kms.NewFromConfig(cfg).Options()
	e, err := o.EndpointResolverV2.ResolveEndpoint(ctx, kms.EndpointParameters{
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
