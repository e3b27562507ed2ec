//go:build unix

package plugin_test

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestPluginEndsWithItsParent, and the session with it.
func TestPluginEndsWithItsParent(t *testing.T) {
	t.Parallel()
	r := newPluginRig(t, rigtest.Service(t, ssmtest.Config{}, rigtest.EchoServer(t)))
	args := r.begin(t, "AWS-StartPortForwardingSession", map[string][]string{"portNumber": {"7"}, "localPortNumber": {"0"}})
	script := []string{"-c", `"$@"; true`, "sh", filepath.Join(r.dir, "session-manager-plugin")}
	parent := exec.Command("sh", append(script, args...)...)
	parent.Env = r.env
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); r.Sessions()[0].Links() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the plugin has not connected")
		}
	}
	parent.Process.Kill()
	parent.Wait()
	select {
	case <-r.Sessions()[0].Done():
	case <-time.After(20 * time.Second):
		t.Error("the session is still there")
	}
}
