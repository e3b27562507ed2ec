//go:build unix

package demo

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
)

// TestOtherUsersAreKeptOut: the demo runs commands as its user, and listens where
// every user of the machine can connect to.
func TestOtherUsersAreKeptOut(t *testing.T) {
	d, _ := startDemo(t, plainTemp(t))
	other := awstest.NewServer(awstest.Config{})
	other.Close()
	env := make(map[string]string)
	for _, v := range d.service.Env() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if v := env[name]; v == "" || strings.Contains(v, "EXAMPLE") || v == getenv(other.Env(), name) {
			t.Errorf("%s is %q, which others know", name, v)
		}
		if strings.Contains(d.dir.instructions(), env[name]) {
			t.Errorf("%s is printed", name)
		}
	}
	// The data channel wants a signature, too.
	r, err := http.NewRequest("GET", env["AWS_ENDPOINT_URL"]+"/v1/data-channel/any?role=publish_subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("an upgrade without a signature: %s", answer.Status)
	}
	err = filepath.WalkDir(d.dir.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
