package stream_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

var (
	_ stream.Shell = (*ssmproto.Conn)(nil)
	_ stream.Port  = (*ssmproto.Port)(nil)
)

// TestErrors: errors of ssmproto say what they are without being known.
func TestErrors(t *testing.T) {
	const forbidden = "Forwarding to IP address 127.0.0.1 is forbidden."
	for _, tt := range []struct {
		err                error
		refused, forbidden bool
		reason             string
	}{
		{err: nil},
		{err: io.EOF},
		{err: ssmproto.ErrNotConnected, refused: true},
		{err: &ssmproto.ClosedError{Reason: "maintenance"}, reason: "maintenance"},
		{err: &ssmproto.ClosedError{Reason: forbidden}, forbidden: true, reason: forbidden},
	} {
		for _, err := range []error{tt.err, fmt.Errorf("node: %w", tt.err)} {
			reason, told := stream.Reason(err)
			if stream.Refused(err) != tt.refused || stream.Forbidden(err) != tt.forbidden || reason != tt.reason || told != (reason != "") {
				t.Errorf("%v: refused %v, forbidden %v, reason %q", err, stream.Refused(err), stream.Forbidden(err), reason)
			}
		}
	}
}
