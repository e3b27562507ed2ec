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

// useHelper puts a helper of ours in the place of the SDK's, where the profile
// has a credential_process, and builds on it the roles that the SDK would. role
// is what these have besides what the profile says.
func useHelper(life context.Context, cfg *aws.Config, role func(*stscreds.AssumeRoleOptions)) {
	chain, ok := cfg.Credentials.(aws.CredentialProviderSource)
	if !ok || !slices.Contains(chain.ProviderSources(), aws.CredentialSourceProcess) {
		return
	}
	profile := sharedConfig(*cfg)
	var roles []*config.SharedConfig // the outermost first
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

// sharedConfig is what the files say for the profile, which cfg was read from.
func sharedConfig(cfg aws.Config) *config.SharedConfig {
	for _, source := range cfg.ConfigSources {
		if s, ok := source.(config.SharedConfig); ok {
			return &s
		}
	}
	return &config.SharedConfig{}
}

// renewable are credentials that are read again from where they came from when
// the service says that they are no good: temporary keys in a file do not say
// when they expire, and some tool or person writes new ones there.
type renewable struct {
	life context.Context // of whoever needs the credentials
	load func(context.Context) (aws.CredentialsProvider, error)
	log  *slog.Logger

	mu         sync.Mutex
	from       aws.CredentialsProvider
	last       aws.Credentials // that were handed out
	generation int             // counts the providers
	reading    chan struct{}   // closed when they have been read; nil: they are not
	next       time.Time       // not to be read again before
}

func newRenewable(life context.Context, from aws.CredentialsProvider, log *slog.Logger, load func(context.Context) (aws.CredentialsProvider, error)) *renewable {
	return &renewable{life: life, from: from, load: load, log: log}
}

// Credentials are read again renewEvery after they were read last, or later if
// that took long: somebody is asked for them then, and does not want to be asked
// all the time.
const (
	renewEvery = 3 * time.Second
	renewShare = 10 // at most one part in so many of the time is spent on it,
	renewLast  = 5 * time.Minute
)

// nextRead is when credentials may be read again that were asked for at begun
// and have come now.
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

// renew gets credentials in place of those of a generation. It says whether
// there are others now. Reading them goes on when ctx ends: a person may be
// asked, and should not be asked again by whoever comes next.
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

// read puts what the configuration says now in the place of what it said.
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

// attach makes clients of cfg use r, and repeat calls with what it is renewed
// to.
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

// BadCredentials says whether err is the service's, about the credentials: they
// have expired, are unknown, or do not belong together, as when a file has been
// read while it was written.
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
		// The clock may be meant as well.
		return !strings.Contains(api.ErrorMessage(), "Signature expired") && !strings.Contains(api.ErrorMessage(), "Signature not yet current")
	}
	return false
}

// hideCredentials keeps c from people and logs.
func hideCredentials(c aws.Credentials) { safetext.AddSecrets(c.SecretAccessKey, c.SessionToken) }

// hideConfig hides what the configuration's files hold for a profile.
func hideConfig(shared *config.SharedConfig) {
	for p := shared; p != nil; p = p.Source {
		hideCredentials(p.Credentials)
	}
}
