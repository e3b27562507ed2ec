package awsapi

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestChannelElsewhere: signature and token go to AWS's hosts over TLS, and to
// nobody else unless the user has said so.
func TestChannelElsewhere(t *testing.T) {
	const path = "/v1/data-channel/me-1?role=publish_subscribe"
	for _, tt := range []struct {
		region, api, given string
		why                string // "" is taken
	}{
		{"eu-central-1", "", "wss://ssmmessages.eu-central-1.amazonaws.com", ""},
		{"eu-central-1", "", "wss://ssmmessages.eu-central-1.api.aws", ""},
		{"eu-central-1", "", "wss://SSMMESSAGES.eu-central-1.AMAZONAWS.COM:443", ""},
		{"cn-north-1", "", "wss://ssmmessages.cn-north-1.amazonaws.com.cn", ""},
		{"us-iso-east-1", "", "wss://ssmmessages.us-iso-east-1.c2s.ic.gov", ""},
		{"us-isob-east-1", "", "wss://ssmmessages.us-isob-east-1.sc2s.sgov.gov", ""},
		{"eusc-de-east-1", "", "wss://ssmmessages.eusc-de-east-1.amazonaws.eu", ""},
		{"us-gov-west-1", "", "wss://ssmmessages.us-gov-west-1.amazonaws.com", ""},
		{"eu-central-1", "", "ws://ssmmessages.eu-central-1.amazonaws.com", "without TLS"},
		{"eu-central-1", "", "ws://elsewhere.example", "without TLS"},
		{"eu-central-1", "", "wss://elsewhere.example", "is not an AWS host in eu-central-1"},
		{"eu-central-1", "", "wss://amazonaws.com", "is not an AWS host"},
		{"eu-central-1", "", "wss://ssmmessages.eu-central-1.amazonaws.com.evil.example", "is not an AWS host"},
		{"eu-central-1", "", "wss://evilamazonaws.com", "is not an AWS host"},
		{"eu-central-1", "", "wss://ssmmessages.eu-central-1.amazonaws.com@evil.example", "user"},
		{"eu-central-1", "", "wss://ssmmessages.cn-north-1.amazonaws.com.cn", "is not an AWS host"},
		{"eu-central-1", "", "https://ssmmessages.eu-central-1.amazonaws.com", "not a WebSocket URL"},
		{"eu-central-1", "", "wss:ssmmessages.eu-central-1.amazonaws.com", "not a WebSocket URL"},
		{"eu-central-1", "https://ssm.eu-central-1.amazonaws.com", "wss://elsewhere.example", "is not an AWS host"}, // as the AWS CLI tells its plugin
		{"eu-central-1", "https://vpce-1.ssm.eu-central-1.vpce.amazonaws.com", "wss://ssmmessages.eu-central-1.amazonaws.com", ""},
		{"eu-central-1", "https://local.example", "wss://elsewhere.example", ""},
		{"eu-central-1", "https://local.example", "ws://local.example", "without TLS"},
		{"eu-central-1", "http://127.0.0.1:99", "ws://127.0.0.1:100", ""},
		{"eu-central-1", "http://127.0.0.1:99", "wss://elsewhere.example", ""},
	} {
		cfg := aws.Config{Region: tt.region}
		s := NewSession(cfg, ssm.StartSessionInput{})
		s.Endpoint = tt.api
		got, err := s.DataChannelURL(tt.given + path)
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%s, %s: %v", tt.api, tt.given, err)
		case tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%s, %s: taken as %s, %v; want %q", tt.api, tt.given, got, err, tt.why)
		}
	}
}
