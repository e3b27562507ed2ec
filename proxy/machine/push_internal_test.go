package machine

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/ssmpipe/ssmpipe/proxy/keys"
)

// pushService accepts all keys and notes for which instance they were.
func pushService(t *testing.T) (cfg aws.Config, got func() []string) {
	var mu sync.Mutex
	var ids []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ InstanceId string }
		json.NewDecoder(r.Body).Decode(&in)
		mu.Lock()
		ids = append(ids, in.InstanceId)
		mu.Unlock()
		w.Write([]byte(`{"Success": true}`))
	}))
	t.Cleanup(srv.Close)
	cfg = aws.Config{Region: "us-east-1", BaseEndpoint: &srv.URL,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	return cfg, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
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
		cfg, got := pushService(t)
		o := &Options{Target: "web-1", Log: slog.New(slog.DiscardHandler), ConnectTimeout: time.Minute,
			Notice: func(line string) { t.Error(line) },
			Key:    &PushKey{Way: keys.InstanceConnect, User: "ubuntu", Socket: pushSocket(t)}}
		p, err := o.NewPushing()
		if err != nil {
			t.Fatal(err)
		}
		p.Start(t.Context(), &Client{Options: o, Config: cfg, At: Machine{ID: "i-old"}})
		p.Ready(c.at)
		<-p.known
		if !slices.Equal(got(), c.want) {
			t.Errorf("pushed to %v, not %v", got(), c.want)
		}
		p.Close()
	}
}

// TestPushEndsWithoutASession, and nobody who waits for it is left waiting.
func TestPushEndsWithoutASession(t *testing.T) {
	cfg, _ := pushService(t)
	for _, started := range []bool{true, false} {
		o := &Options{Target: "web-1", Log: slog.New(slog.DiscardHandler), Notice: func(line string) { t.Error(line) },
			Key: &PushKey{Way: keys.InstanceConnect, User: "ubuntu", Socket: pushSocket(t)}}
		p, err := o.NewPushing()
		if err != nil {
			t.Fatal(err)
		}
		if started {
			p.Start(t.Context(), &Client{Options: o, Config: cfg, At: Machine{ID: "i-old"}})
		}
		p.Close()
		<-p.known
	}
}
