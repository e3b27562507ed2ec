package stdio

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/keys"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
)

// pushService accepts all keys and notes for which machine they were.
type pushService struct {
	driver.Service

	mu  sync.Mutex
	ids []string
}

func (s *pushService) CanPush(string, keys.Way) error { return nil }

func (s *pushService) PushKey(_ context.Context, id string, _ driver.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
	return nil
}

func (s *pushService) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

// pushSocket is a path that is not too long for a socket.
func pushSocket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "a")
}

// TestPushFollowsTheSession: a name that was kept leads to a machine that is no
// more; the session goes to its successor, and so does the key.
func TestPushFollowsTheSession(t *testing.T) {
	for _, c := range []struct {
		at   string
		want []string
	}{
		{"i-old", []string{"i-old"}},
		{"i-new", []string{"i-old", "i-new"}},
	} {
		service := &pushService{}
		o := &Options{Options: machine.Options{Choice: machine.Choice{Target: "web-1"}, Limits: machine.Limits{ConnectTimeout: time.Minute},
			Account: driver.Account{Log: slog.New(slog.DiscardHandler), Notice: func(line string) { t.Error(line) }}},
			Key: &PushKey{Way: keys.InstanceConnect, User: "ubuntu", Socket: pushSocket(t)}}
		p, err := o.newPushing()
		if err != nil {
			t.Fatal(err)
		}
		p.start(t.Context(), &machine.Client{Options: &o.Options, Service: service, At: machine.Machine{ID: "i-old"}})
		p.ready(c.at)
		<-p.known
		if got := service.got(); !slices.Equal(got, c.want) {
			t.Errorf("pushed to %v, not %v", got, c.want)
		}
		p.close()
	}
}

// TestPushEndsWithoutASession, and nobody who waits for it is left waiting.
func TestPushEndsWithoutASession(t *testing.T) {
	for _, started := range []bool{true, false} {
		o := &Options{Options: machine.Options{Choice: machine.Choice{Target: "web-1"},
			Account: driver.Account{Log: slog.New(slog.DiscardHandler), Notice: func(line string) { t.Error(line) }}},
			Key: &PushKey{Way: keys.InstanceConnect, User: "ubuntu", Socket: pushSocket(t)}}
		p, err := o.newPushing()
		if err != nil {
			t.Fatal(err)
		}
		if started {
			p.start(t.Context(), &machine.Client{Options: &o.Options, Service: &pushService{}, At: machine.Machine{ID: "i-old"}})
		}
		p.close()
		<-p.known
	}
}
