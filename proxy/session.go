package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// session is an ssmproto.Session by way of the SDK.
type session struct {
	cfg   aws.Config
	api   *ssm.Client
	start ssm.StartSessionInput

	id   string
	url  string        // of the data channel, as the service gave it last
	skew time.Duration // how far the service's clock is ahead of ours
}

func newSession(cfg aws.Config, start ssm.StartSessionInput) *session {
	return &session{cfg: cfg, api: ssm.NewFromConfig(cfg), start: start}
}

// startGrace is for how long the answer to StartSession is waited for once
// nobody wants the session any more: without its id it could not be ended.
const startGrace = 800 * time.Millisecond

// Open implements ssmproto.Session.
func (s *session) Open(ctx context.Context) (ssmproto.Grant, error) {
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(startGrace, cancel) })
	defer stop()
	out, err := s.api.StartSession(call, &s.start)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return ssmproto.Grant{}, err
	}
	s.id = aws.ToString(out.SessionId)
	g, err := s.grant(ctx, out.StreamUrl, out.TokenValue, out.ResultMetadata)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), startGrace)
		defer cancel()
		return g, errors.Join(err, s.Terminate(end))
	}
	return g, nil
}

// Resume implements ssmproto.Session.
func (s *session) Resume(ctx context.Context) (ssmproto.Grant, error) {
	out, err := s.api.ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &s.id})
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
		return ssmproto.Grant{}, fmt.Errorf("%w: it timed out", ssmproto.ErrSessionEnded)
	}
	return s.grant(ctx, out.StreamUrl, out.TokenValue, out.ResultMetadata)
}

// Terminate implements ssmproto.Session.
func (s *session) Terminate(ctx context.Context) error {
	_, err := s.api.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: &s.id})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "DoesNotExistException" {
		return nil // ended already
	}
	return err
}

// dataKey gets the key of an encrypted session, bound to it by the context
// that the agent decrypts it with.
func (s *session) dataKey(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error) {
	bound := map[string]string{
		"aws:ssm:SessionId": s.id,
		"aws:ssm:TargetId":  aws.ToString(s.start.Target),
	}
	if challenge != "" {
		bound["aws:ssm:RandomChallenge"] = challenge
	}
	out, err := kms.NewFromConfig(s.cfg).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId:             &keyID,
		NumberOfBytes:     aws.Int32(64),
		EncryptionContext: bound,
	})
	if err != nil {
		return nil, nil, err
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

func (s *session) grant(ctx context.Context, stream, token *string, md smithymw.Metadata) (ssmproto.Grant, error) {
	if skew, ok := middleware.GetAttemptSkew(md); ok {
		s.skew = skew
	}
	if stream := aws.ToString(stream); stream != "" {
		var err error
		if s.url, err = s.dataChannelURL(stream); err != nil {
			return ssmproto.Grant{}, err
		}
	}
	header, err := s.sign(ctx)
	return ssmproto.Grant{URL: s.url, Token: aws.ToString(token), Header: header}, err
}

// emptyHash is the SHA-256 of no payload.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign signs the upgrade request (protocol: SigV4 over GET, service
// ssmmessages), with credentials that are fresh each time.
func (s *session) sign(ctx context.Context) (http.Header, error) {
	// For the signature the scheme does not matter, but the signer leaves out
	// default ports only of the schemes it knows.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http"+strings.TrimPrefix(s.url, "ws"), nil)
	if err != nil {
		return nil, err
	}
	for parameter := range req.URL.Query() {
		if strings.HasPrefix(strings.ToLower(parameter), "x-amz-") {
			return nil, nil // presigned
		}
	}
	creds, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, &credentialsError{err}
	}
	err = v4.NewSigner().SignHTTP(ctx, creds, req, emptyHash, "ssmmessages", s.cfg.Region, time.Now().Add(s.skew))
	return req.Header, err
}

// dataChannelURL applies the endpoint settings that the service does not know
// of to the URL that it gave: an override of the endpoint, as people need it
// for interface endpoints without private DNS, and FIPS and dual-stack.
func (s *session) dataChannelURL(given string) (string, error) {
	u, err := url.Parse(given)
	if err != nil {
		return "", err
	}
	if override := os.Getenv("AWS_ENDPOINT_URL_SSMMESSAGES"); override != "" && os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") != "true" {
		o, err := url.Parse(override)
		if err != nil || o.Host == "" {
			return "", fmt.Errorf("AWS_ENDPOINT_URL_SSMMESSAGES %q is not a URL", override)
		}
		u.Host = o.Host
		u.Scheme = "wss"
		if o.Scheme == "http" || o.Scheme == "ws" {
			u.Scheme = "ws"
		}
		return u.String(), nil
	}
	// Only the service's plain regional name is rewritten.
	for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn"} {
		if u.Host == "ssmmessages."+s.cfg.Region+suffix {
			u.Host = s.regionalHost(suffix)
			break
		}
	}
	return u.String(), nil
}

func (s *session) regionalHost(suffix string) string {
	o := s.api.Options().EndpointOptions
	name := "ssmmessages"
	if o.GetUseFIPSEndpoint() == aws.FIPSEndpointStateEnabled {
		name += "-fips"
	}
	if o.GetUseDualStackEndpoint() == aws.DualStackEndpointStateEnabled {
		suffix = strings.Replace(suffix, ".amazonaws.com.cn", ".api.amazonwebservices.com.cn", 1)
		suffix = strings.Replace(suffix, ".amazonaws.com", ".api.aws", 1)
	}
	return name + "." + s.cfg.Region + suffix
}
