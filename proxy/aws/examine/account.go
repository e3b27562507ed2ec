package examine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/quote"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// identity is the caller's identity according to AWS.
type identity struct{ arn, account, partition string }

// Regions have this form. A name with one more letter is an availability zone.
var (
	regionForm = regexp.MustCompile(`^` + awsapi.RegionPattern + `$`)
	zoneForm   = regexp.MustCompile(`^(` + awsapi.RegionPattern + `)[a-z]$`)
)

// configuration reads the configuration and fetches the credentials.
func (e *examination) configuration(life, ctx context.Context) driver.Finding {
	service, cfg, err := e.open(ctx, func(cfg *aws.Config) {
		e.api.attach(cfg)
		cfg.Retryer = impatient
	})
	e.cfg = cfg
	e.readSources()
	var creds *awsapi.CredentialsError
	var none *awsapi.NoProfileError
	var setting *awsapi.SettingError
	switch {
	case errors.As(err, &creds):
		e.loadErr = creds.Err
	case errors.Is(err, awsapi.ErrNoRegion), errors.As(err, &none), errors.As(err, &setting):
		return e.problem(driver.StatusFailed, err)
	case err != nil:
		return e.bad(driver.StatusFailed, err, "check ~/.aws/config, or the files that AWS_CONFIG_FILE and AWS_CA_BUNDLE name")
	default:
		e.Doctor.Use(service)
	}
	region := cfg.Region
	text := fmt.Sprintf("region %s (from %s), %s", region, e.regionFrom(), e.profileText())
	if zone := zoneForm.FindStringSubmatch(region); zone != nil {
		return driver.Finding{Status: driver.StatusFailed, Detail: text, Remedy: region + " is an availability zone; its region is " + zone[1]}
	}
	if !regionForm.MatchString(region) {
		return driver.Finding{Status: driver.StatusFailed, Detail: text, Remedy: "a region looks like eu-central-1; give --region, or set AWS_REGION"}
	}
	e.startProbes(life)
	return ok("%s", text)
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
func (e *examination) readSources() {
	for _, source := range e.cfg.ConfigSources {
		switch s := source.(type) {
		case config.EnvConfig:
			e.env = s
		case config.SharedConfig:
			e.shared = s
		}
	}
}

func (e *examination) regionFrom() string {
	switch {
	case e.Target.Region != "":
		return "the target"
	case e.Account.Region != "":
		return "--region"
	case os.Getenv("AWS_REGION") != "":
		return "AWS_REGION"
	case os.Getenv("AWS_DEFAULT_REGION") != "":
		return "AWS_DEFAULT_REGION"
	}
	return "the profile"
}

func (e *examination) profileText() string {
	switch {
	case e.Account.Profile != "":
		return fmt.Sprintf("profile %s (from --profile)", e.Account.Profile)
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

func (e *examination) credentials(ctx context.Context) driver.Finding {
	if e.loadErr != nil {
		return e.bad(driver.StatusFailed, e.loadErr, e.logIn(e.loadErr))
	}
	creds, err := e.cfg.Credentials.Retrieve(ctx) // from the SDK's cache
	if err != nil {
		return e.bad(driver.StatusFailed, err, e.logIn(err))
	}
	from := creds.Source
	for _, s := range credentialSources {
		if strings.HasPrefix(creds.Source, s.prefix) {
			from = s.name
		}
	}
	f := ok("from %s", from)
	if creds.CanExpire {
		f.Detail += fmt.Sprintf(", valid for another %s", safetext.Roughly(time.Until(creds.Expires)))
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" && e.Account.Profile == "" && e.env.Credentials.HasKeys() {
		f.Status = driver.StatusWarning
		f.Detail += fmt.Sprintf("; those of profile %s are not used", profile)
		f.Remedy = "unset AWS_ACCESS_KEY_ID, or give --profile, if you mean the profile"
	}
	return f
}

// logIn returns how to get credentials, given why there are none or why they were
// rejected.
func (e *examination) logIn(err error) string {
	profile := ""
	if name := e.shared.Profile; name != "" && name != config.DefaultSharedConfigProfile {
		profile = " --profile " + quote.Word(name)
	}
	source := &e.shared // the profile at the end of the chain of source profiles
	for source.Source != nil {
		source = source.Source
	}
	var process *awsapi.HelperError
	var api smithy.APIError
	fromEnv := e.Account.Profile == "" && e.env.Credentials.HasKeys()
	switch {
	case driver.TimedOut(err):
		return e.problem("", driver.ErrConnectTimeout).Remedy
	case errors.Is(err, ask.ErrNoTerminal):
		return fmt.Sprintf(`run this on a terminal, or fetch credentials first, for example with "aws sts get-caller-identity%s"`, profile)
	case errors.As(err, &api) && strings.Contains(api.ErrorMessage(), "MultiFactorAuthentication"):
		return "type the code that the device shows now; each code works once"
	case fromEnv:
		return "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again, or unset them and give --profile"
	case source.SSOSessionName != "" || source.SSOStartURL != "":
		return fmt.Sprintf("log in with \"aws sso login%s\"", profile)
	case source.LoginSession != "":
		return fmt.Sprintf("log in with \"aws login%s\"", profile)
	case errors.As(err, &process):
		return e.problem("", process).Remedy
	case errors.As(err, &api) && awsapi.Denied(err) && e.shared.RoleARN != "":
		return fmt.Sprintf("the role %s must trust you, and you need sts:AssumeRole on it", e.shared.RoleARN)
	case source.Credentials.HasKeys():
		return fmt.Sprintf("set the access key again with \"aws configure%s\"", profile)
	}
	return `give --profile or AWS_PROFILE, or log in ("aws sso login", "aws configure")`
}

// identity asks for the caller's identity. That needs credentials but no
// permission.
func (e *examination) identity(ctx context.Context) driver.Finding {
	e.who = identity{account: "*", partition: "aws"}
	out, err := sts.NewFromConfig(e.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode() == "RequestExpired" || strings.Contains(api.ErrorMessage(), "Signature expired") || strings.Contains(api.ErrorMessage(), "Signature not yet current")):
		return e.bad(driver.StatusFailed, err, "set this machine's clock")
	case refused(err):
		remedy := e.logIn(err)
		if awsapi.IsCode(err, "InvalidClientTokenId") {
			remedy = "AWS does not know the access key: it has been deleted, or belongs to another partition (China, GovCloud) than the region; " + remedy
		}
		return e.bad(driver.StatusFailed, err, remedy)
	case err != nil:
		f := e.bad(driver.StatusWarning, err, "sessions do not need STS; see the endpoints below")
		f.Detail = "not known: " + f.Detail
		return f
	}
	e.who.arn, e.who.account = aws.ToString(out.Arn), aws.ToString(out.Account)
	if parts := strings.SplitN(e.who.arn, ":", 3); len(parts) == 3 {
		e.who.partition = parts[1]
	}
	return ok("%s, account %s", e.who.arn, e.who.account)
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
func (e *examination) clock(ctx context.Context) driver.Finding {
	skew, known := e.api.clockSkew()
	for _, p := range e.probes {
		if known {
			break
		}
		p.wait(ctx)
		skew, known = p.skew()
	}
	if !known {
		return skipped("no answer from AWS gave the time")
	}
	way := "behind"
	if skew < 0 {
		way = "ahead"
	}
	size := skew.Abs()
	f := ok("accurate to within %v", max(size.Round(time.Second), time.Second))
	if size > skewWarn {
		f = driver.Finding{Status: driver.StatusWarning, Detail: fmt.Sprintf("%s %s", safetext.Roughly(size), way),
			Remedy: "set this machine's clock, and keep it right with NTP: AWS rejects signatures that are 5 minutes off"}
	}
	if size > skewLimit {
		f.Status = driver.StatusFailed
	}
	return f
}
