package awsapi

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// A SettingError says which setting is wrong but does not quote its value: a
// URL may contain a password, and if the URL cannot be parsed there is no
// telling which part that is.
type SettingError struct{ name, want string }

func (e *SettingError) Error() string { return e.name + " is not " + e.want }

const endpointForm = "a URL such as https://HOST"

// The SDK reads the endpoints of these services from AWS_ENDPOINT_URL_SERVICE,
// or from a profile's services section under the lowercase name.
var endpointServices = []string{"SSM", "EC2", "EC2_INSTANCE_CONNECT", "ECS", "KMS", "STS", "SSO", "SSO_OIDC", "SIGNIN"}

// RegionPattern matches region names of all partitions, and hardly any other
// name. A test compares it with the SDK's list.
const RegionPattern = `(?:[a-z]{2}|eusc)(?:-[a-z]+)+-[0-9]{1,2}`

// messagesService is the service of the data channels. The SDK does not know
// it; dataChannelOverride reads its endpoint.
const messagesService = "SSMMESSAGES"

const (
	endpointVariable = "AWS_ENDPOINT_URL"
	endpointKey      = "endpoint_url"
)

// checkEnvironment checks the URLs in the environment, which the SDK would
// quote in errors.
func checkEnvironment() error {
	names := []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}
	if ignored, _ := strconv.ParseBool(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")); !ignored {
		names = append(names, endpointVariable)
		for _, service := range endpointServices {
			names = append(names, endpointVariable+"_"+service)
		}
	}
	for _, name := range names {
		if value := os.Getenv(name); value != "" && readEndpoint(value) == nil {
			return &SettingError{name, endpointForm}
		}
	}
	return nil
}

// checkProfile checks the URLs in a profile.
func checkProfile(shared *config.SharedConfig) error {
	if ignored := shared.IgnoreConfiguredEndpoints; ignored != nil && *ignored {
		return nil
	}
	if shared.BaseEndpoint != "" && readEndpoint(shared.BaseEndpoint) == nil {
		return &SettingError{"the profile's " + endpointKey, endpointForm}
	}
	for name, values := range shared.Services.ServiceValues {
		value, ok := values[endpointKey]
		if ok && slices.Contains(endpointServices, strings.ToUpper(name)) && readEndpoint(value) == nil {
			return &SettingError{fmt.Sprintf("%s of %s in the profile's services section", endpointKey, name), endpointForm}
		}
	}
	return nil
}

// readEndpoint returns the URL of an endpoint, or nil if value is none.
func readEndpoint(value string) *url.URL {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return nil
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
		return u
	}
	return nil
}

// channelAt returns the data channel endpoint on the host of an endpoint, with
// TLS if that has it.
func channelAt(u *url.URL) *url.URL {
	scheme := "wss"
	if u.Scheme == "http" || u.Scheme == "ws" {
		scheme = "ws"
	}
	return &url.URL{Scheme: scheme, Host: u.Host}
}

// dataChannelOverride returns the data channel endpoint from the user's
// settings, or nil. The order of precedence is the SDK's: the service's
// variable, the variable for all services, the profile's services section. A
// setting for all services applies to the API, which says where its data
// channels are.
func dataChannelOverride(cfg aws.Config) (*url.URL, error) {
	name := endpointVariable + "_" + messagesService
	value := os.Getenv(name)
	if value == "" && os.Getenv(endpointVariable) == "" {
		name = endpointKey
		value, _, _ = sharedConfig(cfg).GetServiceBaseEndpoint(context.Background(), messagesService)
	}
	if value == "" || ignoresEndpoints(cfg) {
		return nil, nil
	}
	u := readEndpoint(value)
	if u == nil {
		return nil, &SettingError{name, endpointForm}
	}
	return channelAt(u), nil
}

// ignoresEndpoints reports whether the environment, or else the profile, says
// to ignore configured endpoints.
func ignoresEndpoints(cfg aws.Config) bool {
	if ignored, err := strconv.ParseBool(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")); err == nil {
		return ignored
	}
	ignored := sharedConfig(cfg).IgnoreConfiguredEndpoints
	return ignored != nil && *ignored
}

// messagesEndpoint derives the data channel's host from the API's, which the
// SDK knows for every partition and setting: ssm.R.amazonaws.com becomes
// ssmmessages.R.amazonaws.com, ssm-fips.R.api.aws becomes
// ssmmessages-fips.R.api.aws.
func messagesEndpoint(region string, fips, dualStack bool) (*url.URL, error) {
	api, err := ssm.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), ssm.EndpointParameters{
		Region:       &region,
		UseFIPS:      &fips,
		UseDualStack: &dualStack,
	})
	if err != nil {
		return nil, err
	}
	name, rest, _ := strings.Cut(api.URI.Host, ".")
	messages := "ssmmessages"
	if fips {
		// Do not copy this from the API's name: in GovCloud that has no -fips.
		messages += "-fips"
	}
	if name != "ssm" && name != "ssm-fips" {
		return nil, fmt.Errorf("endpoint %s has an unknown form", api.URI.Host)
	}
	return &url.URL{Scheme: "wss", Host: messages + "." + rest}, nil
}
