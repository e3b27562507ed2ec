package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
)

// ErrNoRegion says that no flag, environment variable or profile names a
// region.
var ErrNoRegion = errors.New("no region")

// Account selects an AWS account and region.
type Account = driver.Account

// Load reads the AWS configuration as every AWS tool does, and fetches the
// credentials. Load ends with ctx; later requests for credentials end with
// life. account distinguishes accounts. The caller must drop w, the connection
// to the API that was opened meanwhile.
func Load(life, ctx context.Context, a *Account) (cfg aws.Config, account string, w *Warm, err error) {
	w = &Warm{}
	cfg, err = Read(life, ctx, a)
	if err == nil {
		_, err = dataChannelOverride(cfg) // report a bad setting before there is a session
	}
	if err != nil {
		return cfg, "", w, err
	}
	w = warmUp(ctx, cfg)
	creds, err := Retrieve(life, ctx, cfg)
	if err != nil {
		return cfg, "", w, err
	}
	a.Log.Debug("credentials ready", "source", creds.Source)
	w.use(&cfg)
	SendWhole(&cfg)
	// If the source of credentials does not name the account, the access key
	// stands for it.
	return cfg, cmp.Or(creds.AccountID, creds.AccessKeyID), w, nil
}

// Read is Load without network access.
func Read(life, ctx context.Context, a *Account) (aws.Config, error) {
	cfg, err := readFiles(life, ctx, a)
	if err != nil {
		return cfg, err
	}
	boundSkew(&cfg, a.Notice)
	newRenewable(life, cfg.Credentials, a.Log, func(ctx context.Context) (aws.CredentialsProvider, error) {
		again, err := readFiles(life, ctx, a)
		return again.Credentials, err
	}).attach(&cfg)
	return cfg, nil
}

// readFiles reads the environment and the configuration files.
func readFiles(life, ctx context.Context, a *Account) (cfg aws.Config, err error) {
	if err := checkEnvironment(); err != nil {
		return cfg, err
	}
	retryer, watch := withRetries(a.Notice)
	role := func(r *stscreds.AssumeRoleOptions) {
		if r.RoleSessionName == "" {
			r.RoleSessionName = roleSessionName()
		}
		r.TokenProvider = func() (string, error) { return ask.Code(life, aws.ToString(r.SerialNumber)) }
	}
	options := []func(*config.LoadOptions) error{
		config.WithAppID("ssmpipe"),
		config.WithRetryer(retryer),
		config.WithAPIOptions(append(watch, guardAnswers)),
		config.WithHTTPClient(newHTTPClient()), // otherwise each API client has its own, with its own connections
		// By default the SDK writes its warnings to stderr.
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			a.Log.Debug(fmt.Sprintf(format, v...))
		})),
		config.WithAssumeRoleCredentialOptions(role),
	}
	if a.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(a.Profile))
	}
	if a.Region != "" {
		options = append(options, config.WithRegion(a.Region))
	}
	cfg, err = loadDefaultConfig(ctx, options)
	if err != nil {
		return cfg, profileError(err)
	}
	shared := sharedConfig(cfg)
	hideConfig(shared)
	if err := checkProfile(shared); err != nil {
		return cfg, err
	}
	useHelper(life, &cfg, role)
	if cfg.Region == "" {
		err = ErrNoRegion
	}
	return cfg, err
}

// Retrieve fetches the credentials.
func Retrieve(life, ctx context.Context, cfg aws.Config) (aws.Credentials, error) {
	creds, err := cfg.Credentials.Retrieve(ctx)
	if life.Err() != nil {
		// The SDK does not wait for a question on the terminal to end, but the
		// terminal must be restored.
		ask.Person.Wait()
	}
	if err = CauseOf(ctx, err); err != nil {
		return creds, &CredentialsError{err}
	}
	return creds, nil
}

// Given prepares a program's own configuration as Load prepares that of the
// environment. If a names a region, it is used.
func Given(life, ctx context.Context, given aws.Config, a *Account) (cfg aws.Config, account string, w *Warm, err error) {
	cfg = given.Copy()
	cfg.Region = cmp.Or(a.Region, cfg.Region)
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	guard(&cfg)
	if cfg.Retryer == nil && cfg.RetryMaxAttempts == 0 {
		var watch []func(*middleware.Stack) error
		cfg.Retryer, watch = withRetries(a.Notice)
		cfg.APIOptions = append(cfg.APIOptions, watch...) // cfg is a copy
	}
	switch {
	case cfg.Region == "":
		return cfg, "", &Warm{}, ErrNoRegion
	case cfg.Credentials == nil:
		return cfg, "", &Warm{}, &CredentialsError{errors.New("the configuration has none")}
	}
	from := cfg.Credentials
	boundSkew(&cfg, a.Notice)
	newRenewable(life, from, a.Log, func(context.Context) (aws.CredentialsProvider, error) {
		if cache, ok := from.(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
		return from, nil
	}).attach(&cfg)
	w = warmUp(ctx, cfg)
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return cfg, "", w, &CredentialsError{err}
	}
	w.use(&cfg)
	SendWhole(&cfg)
	return cfg, cmp.Or(creds.AccountID, creds.AccessKeyID), w, nil
}

// roleSessionName returns the session name for an assumed role if the profile
// sets none. The SDK would make up a new name each time, and then users could
// not recognize or end their own sessions (session/${aws:userid}-*).
func roleSessionName() string {
	name := "ssmpipe"
	if u, err := user.Current(); err == nil {
		name = u.Username[strings.LastIndexByte(u.Username, '\\')+1:] // DOMAIN\user
	}
	name = notInSessionName.ReplaceAllString(name, "-")
	if len(name) < 2 {
		name += "-ssmpipe"
	}
	return name[:min(len(name), 64)]
}

// notInSessionName matches characters that STS rejects in a RoleSessionName.
var notInSessionName = regexp.MustCompile(`[^0-9A-Za-z_+=,.@-]`)
