package awsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Session implements ssmproto.Session with the SDK.
type Session struct {
	Config aws.Config
	Begin  func(context.Context) (Begun, error)
	Target string // the service's name for the target
	Log    *slog.Logger

	Endpoint string // of the API; "" means the one in Config
	Starter  string // endpoint of another API that starts the session, if the user configured one
	Unsigned bool   // do not sign the upgrade request
	NoAPI    error  // why the API cannot be used; nil if it can

	// Lingers is called with the reason if the session could not be terminated.
	Lingers func(error)

	ID   string
	URL  string        // of the data channel, as last returned by the service
	skew time.Duration // how far the service's clock is ahead of ours
}

// Begun is a session that has been started, with its first connection.
type Begun struct {
	ID, URL, Token string
	Skew           time.Duration // how far the service's clock is ahead of ours
}

// NewSession returns a session that is started with StartSession.
func NewSession(cfg aws.Config, start ssm.StartSessionInput) *Session {
	s := SessionOf(cfg, aws.ToString(start.Target), nil)
	s.Begin = func(ctx context.Context) (Begun, error) {
		s.Log.Debug("StartSession sent", "target", s.Target, "document", aws.ToString(start.DocumentName), "region", cfg.Region)
		out, err := s.api().StartSession(ctx, &start)
		if err != nil {
			return Begun{}, err
		}
		return Begun{aws.ToString(out.SessionId), aws.ToString(out.StreamUrl), aws.ToString(out.TokenValue), SkewOf(out.ResultMetadata)}, nil
	}
	return s
}

// SessionOf returns a session that begin starts, or obtains from a program that
// has started it.
func SessionOf(cfg aws.Config, target string, begin func(context.Context) (Begun, error)) *Session {
	return &Session{Config: cfg, Begin: begin, Target: target,
		Log: slog.New(slog.DiscardHandler), Lingers: func(error) {}}
}

// api returns the SDK's client. It is not a field of Session: ssmproto holds
// the session in an interface, and the linker would then keep all methods of
// the Systems Manager client.
func (s *Session) api() *ssm.Client {
	return ssm.NewFromConfig(s.Config, func(o *ssm.Options) {
		if s.Endpoint != "" {
			o.BaseEndpoint = &s.Endpoint
		}
	})
}

// startGrace is how long to wait for the answer to a session's start once the
// session is no longer wanted. Without the id in the answer the session could
// not be ended.
const startGrace = 800 * time.Millisecond

// Open implements ssmproto.Session.
func (s *Session) Open(ctx context.Context) (ssmproto.Grant, error) {
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(startGrace, cancel) })
	defer stop()
	var answer answerStart
	first, err := s.Begin(context.WithValue(call, answerKey{}, &answer))
	if err != nil {
		s.endUnread(ctx, &answer, err)
		return ssmproto.Grant{}, CauseOf(ctx, err)
	}
	s.ID = first.ID
	if s.ID == "" {
		return ssmproto.Grant{}, first.check()
	}
	s.Log.Info("session started", "id", s.ID)
	var g ssmproto.Grant
	if err = first.check(); err == nil {
		g, err = s.grant(ctx, first)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), startGrace)
		defer cancel()
		s.Terminate(end)
		return g, err
	}
	return g, nil
}

// resumeRetries leaves retries to the caller, which has its own back-off,
// except when AWS throttles: the caller's back-off is quick, and meant for a
// single process.
func resumeRetries(o *ssm.Options) {
	r := newRetries()
	r.only = r.throttled
	o.Retryer = r
}

// Resume implements ssmproto.Session.
func (s *Session) Resume(ctx context.Context) (ssmproto.Grant, error) {
	if s.NoAPI != nil {
		return ssmproto.Grant{}, ssmproto.Permanent(s.NoAPI)
	}
	out, err := s.api().ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &s.ID}, resumeRetries)
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "DoesNotExistException":
			return ssmproto.Grant{}, fmt.Errorf("%w: %w", ssmproto.ErrSessionEnded, err)
		case "AccessDeniedException", "ValidationException":
			return ssmproto.Grant{}, ssmproto.Permanent(err)
		}
	}
	if err != nil {
		return ssmproto.Grant{}, err
	}
	if aws.ToString(out.TokenValue) == "" {
		s.end(ctx) // if it exists nevertheless, nobody could use it
		return ssmproto.Grant{}, fmt.Errorf("%w: AWS has no token for it any more", ssmproto.ErrSessionEnded)
	}
	return s.grant(ctx, Begun{s.ID, aws.ToString(out.StreamUrl), aws.ToString(out.TokenValue), SkewOf(out.ResultMetadata)})
}

// Terminate implements ssmproto.Session.
func (s *Session) Terminate(ctx context.Context) error {
	if s.NoAPI != nil {
		return nil // the agent has been told, if possible
	}
	s.Log.Info("terminating the session")
	err := s.end(ctx)
	if err != nil {
		s.Lingers(err)
	}
	return err
}

// end is Terminate without telling anyone but the service: the process may be
// blocked on stderr.
func (s *Session) end(ctx context.Context) error {
	if s.NoAPI != nil {
		return nil
	}
	_, err := s.api().TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: &s.ID})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "DoesNotExistException" {
		return nil // already ended
	}
	return err
}

// DataKey gets the key of an encrypted session. The key is bound to the session
// by the encryption context that the agent decrypts it with.
func (s *Session) DataKey(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error) {
	if s.Target == "" {
		return nil, nil, errors.New("the target is not known: the AWS CLI is too old to pass it")
	}
	bound := map[string]string{
		"aws:ssm:SessionId": s.ID,
		"aws:ssm:TargetId":  s.Target,
	}
	if challenge != "" {
		bound["aws:ssm:RandomChallenge"] = challenge
	}
	out, err := kms.NewFromConfig(s.Config).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId:             &keyID,
		NumberOfBytes:     aws.Int32(64),
		EncryptionContext: bound,
	})
	if err != nil {
		return nil, nil, err
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

func (s *Session) grant(ctx context.Context, b Begun) (ssmproto.Grant, error) {
	safetext.AddSecrets(b.Token)
	s.skew = b.Skew
	if b.URL != "" {
		var err error
		if s.URL, err = s.DataChannelURL(b.URL); err != nil {
			return ssmproto.Grant{}, err
		}
	}
	header, err := s.sign(ctx)
	return ssmproto.Grant{URL: s.URL, Token: b.Token, Header: header}, err
}

// SkewOf returns how far the answering server's clock is ahead of ours.
func SkewOf(md smithymw.Metadata) time.Duration {
	skew, _ := middleware.GetAttemptSkew(md)
	return skew
}

// emptyHash is the SHA-256 of an empty payload.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign signs the upgrade request (protocol: SigV4 over GET, service
// ssmmessages) with freshly retrieved credentials.
func (s *Session) sign(ctx context.Context) (http.Header, error) {
	if s.Unsigned || Presigned(s.URL) {
		return nil, nil
	}
	// The scheme does not matter for the signature, but the signer omits
	// default ports only for the schemes it knows.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http"+strings.TrimPrefix(s.URL, "ws"), nil)
	if err != nil {
		return nil, err
	}
	creds, err := s.Config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, &CredentialsError{err}
	}
	err = v4.NewSigner().SignHTTP(ctx, creds, req, emptyHash, "ssmmessages", s.Config.Region, time.Now().Add(s.skew))
	return req.Header, err
}

// Presigned reports whether a data channel's URL contains its signature.
func Presigned(channel string) bool {
	u, err := url.Parse(channel)
	if err != nil {
		return false
	}
	for parameter := range u.Query() {
		if strings.HasPrefix(strings.ToLower(parameter), "x-amz-") {
			return true
		}
	}
	return false
}

// DataChannelURL applies endpoint settings that the service does not know of to
// the URL that it gave: an endpoint override, as needed for interface endpoints
// without private DNS, and FIPS and dual-stack.
func (s *Session) DataChannelURL(given string) (string, error) {
	u, err := url.Parse(given)
	if err != nil {
		return "", errors.New("the service's StreamUrl is not a URL") // not quoted: it may be signed
	}
	override, err := dataChannelOverride(s.Config)
	switch {
	case err != nil:
		return "", err
	case override == nil:
		if err := s.checkChannel(u); err != nil {
			return "", ssmproto.Permanent(err)
		}
	}
	switch {
	case override != nil:
		u.Scheme, u.Host = override.Scheme, override.Host
	default:
		// Only the plain regional name is replaced.
		plain, err := messagesEndpoint(s.Config.Region, false, false)
		if err != nil || u.Host != plain.Host {
			break
		}
		if ours, err := s.regionalEndpoint(); err == nil {
			u.Host = ours.Host
		}
	}
	// The signature omits the default port, so the request must too.
	u.Host = strings.TrimSuffix(u.Host, map[string]string{"ws": ":80", "wss": ":443"}[u.Scheme])
	return u.String(), nil
}

// ExpectedEndpoint returns where the data channel will probably be.
func (s *Session) ExpectedEndpoint() string {
	if s.URL != "" {
		return s.URL // another program has started the session
	}
	if override, err := dataChannelOverride(s.Config); err == nil && override != nil {
		return override.String()
	}
	// If the API is elsewhere, so are its data channels: this holds for servers
	// that people run on their own machines.
	if base := aws.ToString(s.api().Options().BaseEndpoint); base != "" {
		if u := readEndpoint(base); u != nil {
			return channelAt(u).String()
		}
		return ""
	}
	u, err := s.regionalEndpoint()
	if err != nil {
		return ""
	}
	return u.String()
}

// regionalEndpoint returns the region's data channel endpoint, according to the
// settings for FIPS and dual-stack.
func (s *Session) regionalEndpoint() (*url.URL, error) {
	o := s.api().Options().EndpointOptions
	return messagesEndpoint(s.Config.Region,
		o.GetUseFIPSEndpoint() == aws.FIPSEndpointStateEnabled,
		o.GetUseDualStackEndpoint() == aws.DualStackEndpointStateEnabled)
}
