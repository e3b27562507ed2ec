package aws_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// countTo forwards connections to address and counts them.
func countTo(t *testing.T, address string) (via string, count *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	count = new(atomic.Int64)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			go func() {
				defer near.Close()
				far, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer far.Close()
				go io.Copy(far, near)
				io.Copy(near, far)
			}()
		}
	}()
	return l.Addr().String(), count
}

// TestConnectsWhileCredentialsAreFetched: the connection to the API is opened
// beside a slow source of credentials, and it is the one that is used then, for
// all calls.
func TestConnectsWhileCredentialsAreFetched(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "sh")
	// The SDK makes an HTTP client of its own only for the first.
	for _, trust := range []string{"AWS_CA_BUNDLE", "SSL_CERT_FILE"} {
		t.Run(trust, func(t *testing.T) {
			t.Parallel()
			connectsWhileCredentialsAreFetched(t, trust)
		})
	}
}

func connectsWhileCredentialsAreFetched(t *testing.T, trust string) {
	b := rigtest.NewBare(t, ssmtest.Config{TLS: true})
	via, count := countTo(t, strings.TrimPrefix(b.URL(), "https://"))
	dir := t.TempDir()
	config, ready := filepath.Join(dir, "config"), filepath.Join(dir, "ready")
	creds := map[string]string{}
	var env []string
	for _, v := range b.Environ {
		name, value, _ := strings.Cut(v, "=")
		if name == "AWS_CA_BUNDLE" {
			v = trust + "=" + value
		}
		if creds[name] = value; !strings.HasPrefix(name, "AWS_ACCESS") && !strings.HasPrefix(name, "AWS_SECRET") && !strings.HasPrefix(name, "AWS_SESSION") {
			env = append(env, v)
		}
	}
	b.Environ = append(env, "AWS_CONFIG_FILE="+config, "AWS_PROFILE=slow",
		"AWS_ENDPOINT_URL=https://"+via, "AWS_ENDPOINT_URL_SSMMESSAGES="+b.URL())
	// The source waits for what the test has seen.
	rigtest.WriteFile(t, config, `[profile slow]
region = `+creds["AWS_REGION"]+`
credential_process = sh -c 'while ! test -e `+ready+`; do sleep 0.02; done; cat `+ready+`'
`)
	p := b.Start(t, rigtest.Node1)
	rigtest.WaitFor(t, "connection before the credentials", func() bool { return count.Load() == 1 })
	whole := ready + ".part"
	rigtest.WriteFile(t, whole, `{"Version": 1, "AccessKeyId": "`+creds["AWS_ACCESS_KEY_ID"]+`", "SecretAccessKey": "`+creds["AWS_SECRET_ACCESS_KEY"]+`", "SessionToken": "`+creds["AWS_SESSION_TOKEN"]+`"}`)
	if err := os.Rename(whole, ready); err != nil {
		t.Fatal(err)
	}
	far := b.Far(t)
	far.Write([]byte("hello"))
	if _, err := io.ReadFull(p.Out, make([]byte, 5)); err != nil {
		t.Fatalf("%v: %s", err, p.Said.String())
	}
	p.Process.Signal(os.Interrupt)
	p.WantEnd(t, b, 2*time.Second, 1, "")
	far.Close()
	if n := count.Load(); n != 1 || b.Calls("TerminateSession") != 1 {
		t.Errorf("%d connections to the API, not the one that was opened", n)
	}
}
