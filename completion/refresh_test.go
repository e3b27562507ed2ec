package completion_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

var oneNode = []awstest.Node{{ID: "i-0bbbbbbbbbbbbbbb1", Name: "unique"}}

// TestTheFirstAnswerHasTheNextOneFetched asks twenty times at once where
// nothing is known yet, while the service answers nobody.
func TestTheFirstAnswerHasTheNextOneFetched(t *testing.T) {
	srv, home := service(t, oneNode)
	env := environ(home, srv)
	var lists atomic.Int32
	answer := make(chan struct{})
	srv.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "DescribeInstances" {
			lists.Add(1)
		}
		<-answer
		return nil
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if out := complete(t, env, "ssmpipe", "proxy", "uni"); out != "" {
				t.Errorf("%q is known already", out)
			}
		})
	}
	all.Wait() // nobody has waited for the service
	close(answer)
	waitFor(t, "answer", func() bool { return strings.HasPrefix(complete(t, env, "ssmpipe", "proxy", "uni"), "unique\t") })
	if n := lists.Load(); n != 1 {
		t.Errorf("the list was asked for %d times", n)
	}
}

// TestFailureIsKeptToItself asks where the service refuses.
func TestFailureIsKeptToItself(t *testing.T) {
	srv, home := service(t, oneNode)
	env := environ(home, srv)
	srv.SetCredentials("others", "than", "these")
	if out := complete(t, env, "ssmpipe", "proxy", "uni"); out != "" {
		t.Errorf("%q", out)
	}
	waitFor(t, "note of the failure", func() bool { return nextTurn(home).After(time.Now().Add(2 * time.Minute)) })
	noted := nextTurn(home)
	if out := complete(t, env, "ssmpipe", "proxy", "uni"); out != "" || !nextTurn(home).Equal(noted) {
		t.Errorf("%q, and another one was started", out)
	}
}

// nextTurn returns when the next list may be fetched.
func nextTurn(home string) (next time.Time) {
	files, _ := filepath.Glob(filepath.Join(home, "cache", "ssmpipe", "*.turn"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			next = info.ModTime()
		}
	}
	return next
}

// BenchmarkAnswer measures what a shell waits for: a process that finds what it
// is asked for among 2,000 machines.
func BenchmarkAnswer(b *testing.B) {
	_, env := newHome(b, manyNodes(2000))
	for b.Loop() {
		cmd := exec.Command(ssmpipe, "complete", "fish", "ssmpipe", "proxy", "fleet-19")
		cmd.Env = env
		if out, err := cmd.Output(); err != nil || strings.Count(string(out), "\n") != 100 {
			b.Fatalf("%v, %q", err, out)
		}
	}
}
