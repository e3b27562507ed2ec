package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// startHTTPProxy runs an HTTP proxy that only tunnels, only with the password,
// and that knows where ssmtest.invalid is. It counts the tunnels.
func startHTTPProxy(t *testing.T) (address string, tunnels *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tunnels = new(atomic.Int64)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if user, password, _ := asked.BasicAuth(); r.Method != http.MethodConnect || user != "me" || password != "s%cret" {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		far, err := net.Dial("tcp", strings.Replace(r.Host, "ssmtest.invalid", "127.0.0.1", 1))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			far.Close()
			return
		}
		tunnels.Add(1)
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(far, near); far.Close() }()
		io.Copy(near, far)
		near.Close()
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String(), tunnels
}

// TestHTTPSProxy: API and data channel both go through the proxy, which alone
// knows the service's name, and say why if it will not have them.
func TestHTTPSProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ user, refusal string }{{"me:s%25cret", ""}, {"me:wrong", "Proxy Authentication Required"}} {
		b := newBare(t, ssmtest.Config{TLS: true})
		address, tunnels := startHTTPProxy(t)
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(b.URL(), "https://"))
		endpoint := "https://ssmtest.invalid:" + port
		b.env = append(b.env, "HTTPS_PROXY=http://"+tt.user+"@"+address, "NO_PROXY=", "no_proxy=",
			"AWS_ENDPOINT_URL="+endpoint, "AWS_ENDPOINT_URL_SSMMESSAGES="+endpoint, "AWS_MAX_ATTEMPTS=1")
		p := b.start(t, node1)
		if tt.refusal != "" {
			p.wantEnd(t, b, 5*time.Second, 1, tt.refusal)
			if strings.Contains(p.stderr.String(), "wrong") {
				t.Errorf("the proxy's password is in %q", p.stderr.String())
			}
			continue
		}
		far := b.far(t)
		far.Write([]byte("hello"))
		b.Cut(ssmtest.CutReset) // the next link goes through the proxy too
		far.Write([]byte(" again"))
		got := make([]byte, len("hello again"))
		if _, err := io.ReadFull(p.stdout, got); err != nil || string(got) != "hello again" {
			t.Errorf("%q, %v", got, err)
		}
		far.Close()
		p.wantEnd(t, b, 2*time.Second, 0, "")
		if n := tunnels.Load(); n < 3 {
			t.Errorf("%d tunnels, want one for the API and two for the data channel", n)
		}
	}
}
