package stdio_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestBusyUntilTheLimit: what AWS cannot do now is tried until the time for
// connecting is over, which is told early on, and the end says what it was.
func TestBusyUntilTheLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		operation string
		args      []string
		refusal   ssmtest.APIError
		notice    string
		end       string
	}{
		"throttled": {"StartSession", nil, ssmtest.APIError{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"},
			"ssmpipe: AWS is throttling StartSession calls (ThrottlingException); trying again",
			"timed out after 12s: ThrottlingException: Rate exceeded; "},
		"broken": {"StartSession", nil, ssmtest.APIError{Status: 500, Code: "InternalServerError", Message: "An error occurred"},
			"ssmpipe: AWS cannot serve StartSession calls (InternalServerError); trying again",
			"timed out after 12s: InternalServerError: An error occurred; "},
		"looked up": {"DescribeInstances", []string{"web-1"}, ssmtest.APIError{Status: 503, Code: "RequestLimitExceeded", Message: "Request limit exceeded."},
			"ssmpipe: AWS is throttling DescribeInstances calls (RequestLimitExceeded); trying again",
			"timed out after 12s: RequestLimitExceeded: Request limit exceeded.; "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := rigtest.NewBare(t, ssmtest.Config{})
			b.OnAPI(func(operation string) *ssmtest.APIError {
				if operation == tt.operation {
					return &tt.refusal
				}
				return nil
			})
			if tt.args == nil {
				tt.args = []string{rigtest.Node1}
			}
			p := b.Start(t, append([]string{"--connect-timeout", "12s"}, tt.args...)...)
			if out, _ := io.ReadAll(p.Out); len(out) > 0 {
				t.Errorf("stdout %q", out)
			}
			<-p.Ended
			lines := strings.Split(strings.TrimSpace(p.Said.String()), "\n")
			if len(lines) != 2 || lines[0] != tt.notice || !strings.Contains(lines[1], strings.Replace(tt.end, ".; ", "; ", 1)) {
				t.Errorf("stderr %q", lines)
			}
			if n := b.Calls(tt.operation); n < 4 || n > 20 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// TestUnreachableIsToldSoon: who does not reach AWS at all need not wait.
func TestUnreachableIsToldSoon(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	b.Offline(true)
	p := b.Start(t, "--connect-timeout", "5m", rigtest.Node1)
	p.WantEnd(t, b, time.Minute, 1, "check the network")
}
