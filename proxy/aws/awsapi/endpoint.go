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

// A SettingError says which setting is wrong, and not what it is: a URL may
// hold a password, and where it cannot be read nobody knows which part that is.
type SettingError struct{ name, want string }

func (e *SettingError) Error() string { return e.name + " is not " + e.want }

const endpointForm = "a URL such as https://HOST"

// The SDK reads the endpoints of these services from AWS_ENDPOINT_URL_SERVICE,
// or in a profile's services section under the name in lower case.
var endpointServices = []string{"SSM", "EC2", "EC2_INSTANCE_CONNECT", "ECS", "KMS", "STS", "SSO", "SSO_OIDC", "SIGNIN"}

// messagesService is that of the data channels. The SDK does not know it:
// dataChannelOverride looks at its endpoint.
const messagesService = "SSMMESSAGES"

const (
	endpointVariable = "AWS_ENDPOINT_URL"
	endpointKey      = "endpoint_url"
)

// checkEnvironment looks at the URLs there, which the SDK would quote.
func checkEnvironment() error {
	names := []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}
	if ignored, _ := strconv.ParseBool(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")); !ignored {
		names = append(names, endpointVariable)
		for _, service := range endpointServices {
			names = append(names, endpointVariable+"_"+service)
		}
	}
	for _, name := range names {
		if value := os.Getenv(name); value != "" && !isEndpoint(value) {
			return &SettingError{name, endpointForm}
		}
	}
	return nil
}

// checkProfile looks at the URLs in a profile.
func checkProfile(shared *config.SharedConfig) error {
	if ignored := shared.IgnoreConfiguredEndpoints; ignored != nil && *ignored {
		return nil
	}
	if shared.BaseEndpoint != "" && !isEndpoint(shared.BaseEndpoint) {
		return &SettingError{"the profile's " + endpointKey, endpointForm}
	}
	for name, values := range shared.Services.ServiceValues {
		value, ok := values[endpointKey]
		if ok && slices.Contains(endpointServices, strings.ToUpper(name)) && !isEndpoint(value) {
			return &SettingError{fmt.Sprintf("%s of %s in the profile's services section", endpointKey, name), endpointForm}
		}
	}
	return nil
}

func isEndpoint(value string) bool {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return false
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
		return true
	}
	return false
}

// dataChannelOverride returns where the user's settings say that data channels
// are, or nil. What goes before what is as in the SDK: the variable of the
// service, that of all services, the profile's section of services. One for all
// services is about the API: it tells where its data channels are.
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
	if !isEndpoint(value) {
		return nil, &SettingError{name, endpointForm}
	}
	u, _ := url.Parse(value)
	scheme := "wss"
	if u.Scheme == "http" || u.Scheme == "ws" {
		scheme = "ws"
	}
	return &url.URL{Scheme: scheme, Host: u.Host}, nil
}

// ignoresEndpoints says whether the user's settings of endpoints are to be
// ignored, which the environment or else the profile says.
func ignoresEndpoints(cfg aws.Config) bool {
	if ignored, err := strconv.ParseBool(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")); err == nil {
		return ignored
	}
	ignored := sharedConfig(cfg).IgnoreConfiguredEndpoints
	return ignored != nil && *ignored
}

// messagesEndpoint derives the data channel's host from the API's, which the
// SDK knows for every partition and setting: ssm.R.amazonaws.com becomes
// ssmmessages.R.amazonaws.com, ssm-fips.R.api.aws ssmmessages-fips.R.api.aws.
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
		// Not after the API's name: in GovCloud that has no -fips.
		messages += "-fips"
	}
	if name != "ssm" && name != "ssm-fips" {
		return nil, fmt.Errorf("endpoint %s is of no known form", api.URI.Host)
	}
	return &url.URL{Scheme: "wss", Host: messages + "." + rest}, nil
}
