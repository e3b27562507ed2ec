package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// identity is the caller's identity according to AWS.
type identity struct{ arn, account, partition string }

// Regions have this form. A name with one more letter is an availability zone.
var (
	regionForm = regexp.MustCompile(`^` + machine.RegionPattern + `$`)
	zoneForm   = regexp.MustCompile(`^(` + machine.RegionPattern + `)[a-z]$`)
)

// configuration reads the configuration and retrieves the credentials.
func (d *doctor) configuration(ctx context.Context) Finding {
	limited, _, stop := d.o.ConnectLimit(ctx)
	defer stop()
	err := d.load(ctx, limited)
	d.readSources()
	var creds *awsapi.CredentialsError
	switch {
	case errors.As(err, &creds):
		d.loadErr = creds.Err
	case errors.Is(err, awsapi.ErrNoRegion):
		return bad(StatusFailed, err, d.o.Next(err))
	case err != nil:
		var none *awsapi.NoProfileError
		var setting *awsapi.SettingError
		if errors.As(err, &none) || errors.As(err, &setting) {
			return bad(StatusFailed, err, d.o.Next(err))
		}
		return bad(StatusFailed, err, "check ~/.aws/config, or what AWS_CONFIG_FILE and AWS_CA_BUNDLE name")
	}
	region := d.cfg.Region
	text := fmt.Sprintf("region %s (from %s), %s", region, d.regionFrom(), d.profileText())
	if zone := zoneForm.FindStringSubmatch(region); zone != nil {
		return Finding{Status: StatusFailed, Detail: text, Remedy: region + " is an availability zone; its region is " + zone[1]}
	}
	if !regionForm.MatchString(region) {
		return Finding{Status: StatusFailed, Detail: text, Remedy: "a region is written as eu-central-1; give --region, or set AWS_REGION"}
	}
	d.api.attach(&d.cfg)
	d.cfg.Retryer = impatient
	d.client.Config = d.cfg
	d.startProbes(ctx)
	return ok("%s", text)
}

// load loads the configuration as all commands do.
func (d *doctor) load(ctx, limited context.Context) (err error) {
	if d.o.Target != "" {
		d.client, err = d.o.Configure(ctx, limited)
	} else {
		d.client.Config, _, d.client.Warm, err = awsapi.Load(ctx, limited, d.o.Account())
	}
	d.cfg = d.client.Config
	return err
}

// impatient returns a Retryer that does not retry if an endpoint cannot be reached
// or trusted: there are separate checks for the endpoints.
func impatient() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			var op *net.OpError
			var untrusted *tls.CertificateVerificationError
			if errors.As(err, &op) && op.Op == "dial" || errors.As(err, &untrusted) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})}, o.Retryables...)
	})
}

// readSources determines where the configuration comes from.
func (d *doctor) readSources() {
	for _, source := range d.cfg.ConfigSources {
		switch s := source.(type) {
		case config.EnvConfig:
			d.env = s
		case config.SharedConfig:
			d.shared = s
		}
	}
}

func (d *doctor) regionFrom() string {
	switch {
	case d.client.Target.Region != "":
		return "the target"
	case d.o.Region != "":
		return "--region"
	case os.Getenv("AWS_REGION") != "":
		return "AWS_REGION"
	case os.Getenv("AWS_DEFAULT_REGION") != "":
		return "AWS_DEFAULT_REGION"
	}
	return "the profile"
}

func (d *doctor) profileText() string {
	switch {
	case d.o.Profile != "":
		return fmt.Sprintf("profile %s (from --profile)", d.o.Profile)
	case os.Getenv("AWS_PROFILE") != "":
		return fmt.Sprintf("profile %s (from AWS_PROFILE)", os.Getenv("AWS_PROFILE"))
	case os.Getenv("AWS_DEFAULT_PROFILE") != "":
		return fmt.Sprintf("profile %s (from AWS_DEFAULT_PROFILE)", os.Getenv("AWS_DEFAULT_PROFILE"))
	}
	return "default profile"
}

// credentialSources maps the SDK's names of credential sources to ours.
var credentialSources = []struct{ prefix, name string }{
	{"EnvConfigCredentials", "environment variables"},
	{"SharedConfigCredentials", "the profile's access key"},
	{"SSOProvider", "SSO"},
	{"LoginProvider", `"aws login"`},
	{"AssumeRoleProvider", "an assumed role"},
	{"WebIdentityCredentials", "a web identity"},
	{"ProcessProvider", "the profile's credential_process"},
	{"EC2RoleProvider", "this instance's role"},
	{"CredentialsEndpointProvider", "the container's role"},
}

func (d *doctor) credentials(ctx context.Context) Finding {
	if d.loadErr != nil {
		return bad(StatusFailed, d.loadErr, d.logIn(d.loadErr))
	}
	creds, err := d.cfg.Credentials.Retrieve(ctx) // from the SDK's cache
	if err != nil {
		return bad(StatusFailed, err, d.logIn(err))
	}
	from := creds.Source
	for _, s := range credentialSources {
		if strings.HasPrefix(creds.Source, s.prefix) {
			from = s.name
		}
	}
	f := ok("from %s", from)
	if creds.CanExpire {
		f.Detail += fmt.Sprintf(", good for another %s", safetext.Roughly(time.Until(creds.Expires)))
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" && d.o.Profile == "" && d.env.Credentials.HasKeys() {
		f.Status = StatusWarning
		f.Detail += fmt.Sprintf("; those of profile %s are not used", profile)
		f.Remedy = "unset AWS_ACCESS_KEY_ID, or give --profile, if the profile is meant"
	}
	return f
}

// logIn returns how to get credentials, given why there are none or why they were
// rejected.
func (d *doctor) logIn(err error) string {
	profile := ""
	if name := d.shared.Profile; name != "" && name != config.DefaultSharedConfigProfile {
		profile = " --profile " + quote.Word(name)
	}
	source := &d.shared // the profile at the end of the chain of source profiles
	for source.Source != nil {
		source = source.Source
	}
	var process *awsapi.HelperError
	var api smithy.APIError
	fromEnv := d.o.Profile == "" && d.env.Credentials.HasKeys()
	switch {
	case machine.TimedOut(err):
		return d.o.NextAfterTimeout()
	case errors.Is(err, ask.ErrNoTerminal):
		return fmt.Sprintf(`run this on a terminal, or fetch credentials first, for example with "aws sts get-caller-identity%s"`, profile)
	case errors.As(err, &api) && strings.Contains(api.ErrorMessage(), "MultiFactorAuthentication"):
		return "type the code that the device shows now; each is good for one use"
	case fromEnv:
		return "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again, or unset them and give --profile"
	case source.SSOSessionName != "" || source.SSOStartURL != "":
		return fmt.Sprintf("log in with \"aws sso login%s\"", profile)
	case source.LoginSession != "":
		return fmt.Sprintf("log in with \"aws login%s\"", profile)
	case errors.As(err, &process):
		return d.o.Next(process)
	case errors.As(err, &api) && machine.Denied(err) && d.shared.RoleARN != "":
		return fmt.Sprintf("the role %s must trust you, and you need sts:AssumeRole on it", d.shared.RoleARN)
	case source.Credentials.HasKeys():
		return fmt.Sprintf("set the access key again with \"aws configure%s\"", profile)
	}
	return `give --profile or AWS_PROFILE, or log in ("aws sso login", "aws configure")`
}

// identity asks for the caller's identity. That needs credentials but no
// permission.
func (d *doctor) identity(ctx context.Context) Finding {
	d.who = identity{account: "*", partition: "aws"}
	out, err := sts.NewFromConfig(d.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode() == "RequestExpired" || strings.Contains(api.ErrorMessage(), "Signature expired") || strings.Contains(api.ErrorMessage(), "Signature not yet current")):
		return bad(StatusFailed, err, "set this machine's clock")
	case refused(err):
		remedy := d.logIn(err)
		if machine.IsCode(err, "InvalidClientTokenId") {
			remedy = "AWS does not know the access key: it is deleted, or of another partition (China, GovCloud) than the region; " + remedy
		}
		return bad(StatusFailed, err, remedy)
	case err != nil:
		f := bad(StatusWarning, err, "sessions do not need STS; see the endpoints below")
		f.Detail = "not known: " + f.Detail
		return f
	}
	d.who.arn, d.who.account = aws.ToString(out.Arn), aws.ToString(out.Account)
	if parts := strings.SplitN(d.who.arn, ":", 3); len(parts) == 3 {
		d.who.partition = parts[1]
	}
	return ok("%s, account %s", d.who.arn, d.who.account)
}

// refused reports whether the service has understood a call and refused it.
func refused(err error) bool {
	var res *smithyhttp.ResponseError
	var api smithy.APIError
	return errors.As(err, &api) && errors.As(err, &res) && res.HTTPStatusCode()/100 == 4 && awsapi.NextForCode(api.ErrorCode()) != awsapi.NextForCode("Throttling")
}

// Limits on the difference of clocks. AWS rejects signatures that are more than
// five minutes old or early.
const (
	skewLimit = 5 * time.Minute
	skewWarn  = time.Minute
)

// clock compares this machine's clock with the service's, which every response
// contains, even a refusal.
func (d *doctor) clock(ctx context.Context) Finding {
	skew, known := d.api.clockSkew()
	for _, p := range d.probes {
		if known {
			break
		}
		p.wait(ctx)
		skew, known = p.skew()
	}
	if !known {
		return skipped("no answer from AWS has told the time")
	}
	way := "behind"
	if skew < 0 {
		way = "ahead"
	}
	size := skew.Abs()
	f := ok("right within %v", max(size.Round(time.Second), time.Second))
	if size > skewWarn {
		f = Finding{Status: StatusWarning, Detail: fmt.Sprintf("%s %s", safetext.Roughly(size), way),
			Remedy: "set this machine's clock, and keep it right with NTP: AWS refuses signatures that are 5 minutes off"}
	}
	if size > skewLimit {
		f.Status = StatusFailed
	}
	return f
}

// apiLog records the results of the API calls made by the code under examination.
type apiLog struct {
	mu    sync.Mutex
	skew  time.Duration // how far the service's clock is ahead of ours
	known bool
	calls map[string]error // the last result of each operation on sessions
	id    string           // of the session started last
	began time.Time        // when StartSession was answered
}

// attach makes clients that use cfg report to l.
func (l *apiLog) attach(cfg *aws.Config) {
	l.calls = make(map[string]error)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *smithymw.Stack) error {
		clock := smithymw.DeserializeMiddlewareFunc("ssmpipeClock", func(ctx context.Context, in smithymw.DeserializeInput, next smithymw.DeserializeHandler) (smithymw.DeserializeOutput, smithymw.Metadata, error) {
			out, md, err := next.HandleDeserialize(ctx, in)
			if res, ok := out.RawResponse.(*smithyhttp.Response); ok {
				l.tookDate(res.Header)
			}
			return out, md, err
		})
		calls := smithymw.InitializeMiddlewareFunc("ssmpipeCalls", func(ctx context.Context, in smithymw.InitializeInput, next smithymw.InitializeHandler) (smithymw.InitializeOutput, smithymw.Metadata, error) {
			out, md, err := next.HandleInitialize(ctx, in)
			l.called(out.Result, in.Parameters, err)
			return out, md, err
		})
		return errors.Join(stack.Deserialize.Add(clock, smithymw.After), stack.Initialize.Add(calls, smithymw.Before))
	})
}

func (l *apiLog) called(result, parameters any, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch parameters.(type) {
	case *ssm.StartSessionInput:
		l.calls["StartSession"], l.began = err, time.Now()
		if out, ok := result.(*ssm.StartSessionOutput); ok && err == nil {
			l.id = aws.ToString(out.SessionId)
		}
	case *ssm.TerminateSessionInput:
		l.calls["TerminateSession"] = err
	}
}

// of returns the result of an operation, if it was called.
func (l *apiLog) of(operation string) (err error, called bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err, called = l.calls[operation]
	return err, called
}

func (l *apiLog) tookDate(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skew, l.known = time.Until(date), true
}

func (l *apiLog) clockSkew() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skew, l.known
}
