package awsapi

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// CredentialsError says that there are no credentials to call AWS with.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string { return e.Err.Error() }
func (e *CredentialsError) Unwrap() error { return e.Err }

// useHelper replaces the SDK's provider with our helper if the profile has a
// credential_process, and adds the roles that the SDK would assume with it.
// role sets options that the profile does not.
func useHelper(life context.Context, cfg *aws.Config, role func(*stscreds.AssumeRoleOptions)) {
	chain, ok := cfg.Credentials.(aws.CredentialProviderSource)
	if !ok || !slices.Contains(chain.ProviderSources(), aws.CredentialSourceProcess) {
		return
	}
	profile := sharedConfig(*cfg)
	var roles []*config.SharedConfig // outermost first
	for p := profile; p != nil; p = p.Source {
		if p.RoleARN != "" {
			roles = append(roles, p)
		}
		profile = p
	}
	cfg.Credentials = aws.NewCredentialsCache(&helper{life: life, command: profile.CredentialProcess})
	for _, p := range slices.Backward(roles) {
		assume := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*cfg), p.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = p.RoleSessionName
			if d := p.RoleDurationSeconds; d != nil && *d > 15*time.Minute {
				o.Duration = *d
			}
			if p.ExternalID != "" {
				o.ExternalID = &p.ExternalID
			}
			if p.MFASerial != "" {
				o.SerialNumber = &p.MFASerial
			}
			role(o)
		})
		cfg.Credentials = aws.NewCredentialsCache(assume)
	}
}

// sharedConfig returns what the files say about the profile that cfg was read
// from.
func sharedConfig(cfg aws.Config) *config.SharedConfig {
	for _, source := range cfg.ConfigSources {
		if s, ok := source.(config.SharedConfig); ok {
			return &s
		}
	}
	return &config.SharedConfig{}
}

// renewable credentials are read again from their source when the service
// rejects them. Temporary keys in a file carry no expiry, and a tool or a
// person replaces them there.
type renewable struct {
	life context.Context // of the user of the credentials
	load func(context.Context) (aws.CredentialsProvider, error)
	log  *slog.Logger

	mu         sync.Mutex
	from       aws.CredentialsProvider
	last       aws.Credentials // last returned
	generation int             // incremented with each new provider
	reading    chan struct{}   // closed when reading ends; nil if not reading
	next       time.Time       // earliest time of the next read
}

func newRenewable(life context.Context, from aws.CredentialsProvider, log *slog.Logger, load func(context.Context) (aws.CredentialsProvider, error)) *renewable {
	return &renewable{life: life, from: from, load: load, log: log}
}

// Credentials are read again renewEvery after the last read, or later if that
// took long: reading may ask a person, who should not be asked all the time.
const (
	renewEvery = 3 * time.Second
	renewShare = 10              // at most one part in renewShare of the time is spent reading
	renewLast  = 5 * time.Minute // the longest wait for the next read
)

// nextRead returns when credentials may be read again, if the read that has
// just ended started at begun.
func nextRead(begun time.Time) time.Time {
	return time.Now().Add(min(max(renewEvery, renewShare*time.Since(begun)), renewLast))
}

func (r *renewable) current() (from aws.CredentialsProvider, generation int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from, r.generation
}

// Retrieve implements aws.CredentialsProvider.
func (r *renewable) Retrieve(ctx context.Context) (aws.Credentials, error) {
	begun := time.Now()
	from, _ := r.current()
	creds, err := from.Retrieve(ctx)
	if err != nil {
		return creds, err
	}
	hideCredentials(creds)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !sameKeys(creds, r.last) {
		r.next = nextRead(begun)
	}
	r.last = creds
	return creds, nil
}

// renew replaces the credentials of a generation and reports whether there are
// new ones. Reading goes on when ctx ends: it may be asking a person, who
// should not have to answer again for the next caller.
func (r *renewable) renew(ctx context.Context, generation int) bool {
	r.mu.Lock()
	switch {
	case r.generation != generation:
		r.mu.Unlock()
		return true
	case r.reading == nil && time.Now().Before(r.next):
		r.mu.Unlock()
		return false
	case r.reading == nil:
		r.reading = make(chan struct{})
		go r.read(r.last)
	}
	reading := r.reading
	r.mu.Unlock()
	select {
	case <-reading:
	case <-ctx.Done():
		return false
	}
	_, now := r.current()
	return now != generation
}

// read reads the configuration again and replaces what was read before.
func (r *renewable) read(before aws.Credentials) {
	ctx, stop := context.WithTimeout(r.life, ask.Time)
	defer stop()
	begun := time.Now()
	from, err := r.load(ctx)
	var creds aws.Credentials
	if err == nil {
		creds, err = from.Retrieve(ctx)
	}
	hideCredentials(creds)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.log.Debug("the credentials are no good, and new ones cannot be read", "err", Cause(err))
	case sameKeys(creds, before):
		r.log.Debug("the credentials are no good, and the configuration has no others", "source", creds.Source)
	default:
		r.log.Info("the credentials were no good; new ones have been read", "source", creds.Source)
		r.from = from
		r.generation++
	}
	r.next = nextRead(begun)
	close(r.reading)
	r.reading = nil
}

func sameKeys(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// attach makes clients of cfg use r, and retry calls with the renewed
// credentials.
func (r *renewable) attach(cfg *aws.Config) {
	cfg.Credentials = r
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *smithymw.Stack) error {
		return stack.Initialize.Add(smithymw.InitializeMiddlewareFunc("ssmpipe/renewable", r.call), smithymw.Before)
	})
}

func (r *renewable) call(ctx context.Context, in smithymw.InitializeInput, next smithymw.InitializeHandler) (
	smithymw.InitializeOutput, smithymw.Metadata, error) {
	_, generation := r.current()
	out, md, err := next.HandleInitialize(ctx, in)
	if err == nil || !BadCredentials(err) || !r.renew(ctx, generation) {
		return out, md, err
	}
	return next.HandleInitialize(ctx, in)
}

// BadCredentials reports whether err is the service rejecting the credentials:
// they have expired, are unknown, or do not match each other, as when a file
// was read while being written.
func BadCredentials(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired",
		"UnrecognizedClientException", "UnrecognizedClient",
		"InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken", "AuthFailure":
		return true
	case "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch":
		// The cause may also be the clock.
		return !strings.Contains(api.ErrorMessage(), "Signature expired") && !strings.Contains(api.ErrorMessage(), "Signature not yet current")
	}
	return false
}

// hideCredentials keeps c out of messages and logs.
func hideCredentials(c aws.Credentials) { safetext.AddSecrets(c.SecretAccessKey, c.SessionToken) }

// hideConfig hides the secrets that the configuration files hold for a profile.
func hideConfig(shared *config.SharedConfig) {
	for p := shared; p != nil; p = p.Source {
		hideCredentials(p.Credentials)
	}
}
