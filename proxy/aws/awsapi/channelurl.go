package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// ChannelError says why ssmpipe does not connect to the data channel URL that
// the service gave.
type ChannelError struct{ why string }

func (e *ChannelError) Error() string { return "the data channel's URL: " + e.why }

// Next returns advice for users of a service other than AWS's own.
func (*ChannelError) Next() string {
	return "if it is right, set AWS_ENDPOINT_URL_SSMMESSAGES to the data channel's endpoint"
}

// ErrNotBegun says that the answer to a request to start a session contains no
// session.
var ErrNotBegun = errors.New("AWS answered without a session")

// check reports what is missing.
func (b *Begun) check() error {
	var missing []string
	for _, v := range [][2]string{{"SessionId", b.ID}, {"StreamUrl", b.URL}, {"TokenValue", b.Token}} {
		if v[1] == "" {
			missing = append(missing, v[0])
		}
	}
	switch {
	case b.ID == "":
		return ErrNotBegun
	case len(missing) > 0:
		return fmt.Errorf("%w: there is no %s", ErrNotBegun, strings.Join(missing, " and no "))
	}
	return nil
}

// sessionIDField matches a session's id in an answer that cannot be parsed.
var sessionIDField = regexp.MustCompile(`"[Ss]essionId"\s*:\s*"([^"\\]{1,200})"`)

// endUnread ends a session that was started although the SDK could not read the
// answer, provided that the answer contains its id.
func (s *Session) endUnread(ctx context.Context, answer *answerStart, err error) {
	var unread *smithy.DeserializationError
	found := sessionIDField.FindSubmatch(answer.text)
	if !errors.As(err, &unread) || found == nil {
		return
	}
	s.ID = string(found[1])
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), startGrace)
	defer cancel()
	s.Terminate(end)
}

// checkChannel reports whether the signature and the token may be sent to the
// data channel URL that the service gave. It must use TLS, unless the service
// itself is reached without TLS, and its host must be in the region's
// partition, unless the user configured another endpoint for the service.
func (s *Session) checkChannel(u *url.URL) error {
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss", u.Host == "":
		return &ChannelError{"it is not a WebSocket URL"}
	case u.User != nil:
		return &ChannelError{"it contains a user"}
	}
	suffixes, err := s.dnsSuffixes()
	if err != nil {
		return err
	}
	known := func(host string) bool {
		for _, suffix := range suffixes {
			if strings.HasSuffix(strings.ToLower(host), "."+suffix) {
				return true
			}
		}
		return false
	}
	api := s.namedEndpoint()
	switch {
	case u.Scheme == "ws" && (api == nil || api.Scheme != "http"):
		return &ChannelError{fmt.Sprintf("%s would be reached without TLS", safetext.Said(u.Host))}
	case !known(u.Hostname()) && (api == nil || known(api.Hostname())):
		return &ChannelError{fmt.Sprintf("%s is not an AWS host in %s", safetext.Said(u.Host), s.Config.Region)}
	}
	return nil
}

// namedEndpoint returns the endpoint that the user configured for the service
// that started the session, or nil for AWS's own.
func (s *Session) namedEndpoint() *url.URL {
	return readEndpoint(cmp.Or(s.Starter, aws.ToString(s.api().Options().BaseEndpoint)))
}

// dnsSuffixes returns the DNS suffixes of AWS hosts in the region's partition,
// with and without IPv6.
func (s *Session) dnsSuffixes() (suffixes []string, err error) {
	for _, dual := range []bool{false, true} {
		e, err := ssm.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(),
			ssm.EndpointParameters{Region: &s.Config.Region, UseDualStack: &dual})
		if err != nil && dual {
			break // not every partition has dual-stack endpoints
		}
		if err != nil {
			return nil, ssmproto.Permanent(err)
		}
		suffix, ok := strings.CutPrefix(e.URI.Hostname(), "ssm."+s.Config.Region+".")
		if !ok {
			return nil, ssmproto.Permanent(fmt.Errorf("endpoint %s has an unknown form", e.URI.Host))
		}
		suffixes = append(suffixes, suffix)
	}
	return suffixes, nil
}
