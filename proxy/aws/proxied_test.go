package aws_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestHTTPSProxy: API and data channel both go through the proxy, which alone
// knows the service's name, and say why if it will not have them.
func TestHTTPSProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ user, refusal string }{{"me:s%25cret", ""}, {"me:wrong", "Proxy Authentication Required"}} {
		b := rigtest.NewBare(t, ssmtest.Config{TLS: true})
		address, tunnels := rigtest.StartHTTPProxy(t)
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(b.URL(), "https://"))
		endpoint := "https://ssmtest.invalid:" + port
		b.Environ = append(b.Environ, "HTTPS_PROXY=http://"+tt.user+"@"+address, "NO_PROXY=", "no_proxy=",
			"AWS_ENDPOINT_URL="+endpoint, "AWS_ENDPOINT_URL_SSMMESSAGES="+endpoint, "AWS_MAX_ATTEMPTS=1")
		p := b.Start(t, rigtest.Node1)
		if tt.refusal != "" {
			p.WantEnd(t, b, 5*time.Second, 1, tt.refusal)
			if strings.Contains(p.Said.String(), "wrong") {
				t.Errorf("the proxy's password is in %q", p.Said.String())
			}
			continue
		}
		far := b.Far(t)
		far.Write([]byte("hello"))
		b.Cut(ssmtest.CutReset) // the next link goes through the proxy too
		far.Write([]byte(" again"))
		got := make([]byte, len("hello again"))
		if _, err := io.ReadFull(p.Out, got); err != nil || string(got) != "hello again" {
			t.Errorf("%q, %v", got, err)
		}
		far.Close()
		p.WantEnd(t, b, 2*time.Second, 0, "")
		if n := tunnels.Load(); n < 3 {
			t.Errorf("%d tunnels, want one for the API and two for the data channel", n)
		}
	}
}
