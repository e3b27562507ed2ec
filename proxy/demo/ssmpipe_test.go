//go:build unix

package demo

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runDemo runs one command of a shell in a demo with the real ssmpipe.
func runDemo(t *testing.T, script string) (stdout, stderr string, status int) {
	t.Helper()
	if ssmpipe == "" {
		t.Skip("the module has no command yet")
	}
	need(t, "ssh", "scp", "sftp", "rsync")
	checkGoroutines(t)
	checkEmpty(t, plainTemp(t))
	var out, errs bytes.Buffer
	status, err := Run(t.Context(), Options{
		Command:    []string{"sh", "-c", script},
		Executable: ssmpipe,
		NoSleep:    true,
		Stdout:     &out, Stderr: &errs,
	})
	if err != nil {
		t.Error(err)
	}
	return out.String(), errs.String(), status
}

func TestDemoRunsSSH(t *testing.T) {
	stdout, stderr, status := runDemo(t, "ssh i-0demo 'echo out; echo err >&2; exit 5'")
	if stdout != "out\n" || stderr != "err\n" || status != 5 {
		t.Errorf("stdout %q, stderr %q, status %d", stdout, stderr, status)
	}
}

func TestDemoRunsTheOtherTools(t *testing.T) {
	work := t.TempDir()
	data := randomBytes(4 << 20)
	writeFile(t, filepath.Join(work, "up"), data)
	t.Setenv("WORK", work)
	_, stderr, status := runDemo(t, strings.Join([]string{
		"set -e; cd $WORK",
		"scp -q up i-0demo:a",
		"ssh -J i-0demo i-0demo2 'cat >b' <up",
		"echo get a down1 | sftp -q -b - i-0demo >/dev/null",
		"rsync i-0demo2:b down2",
		"printf 'SSH-2.0-probe\\r\\n' | ssmpipe proxy i-0demo 22 | head -n 1 >banner",
	}, "\n"))
	if status != 0 {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, name := range []string{"down1", "down2"} {
		if sha256.Sum256(readFile(t, filepath.Join(work, name))) != sha256.Sum256(data) {
			t.Errorf("%s is not what went up", name)
		}
	}
	if banner, _ := os.ReadFile(filepath.Join(work, "banner")); string(banner) != "SSH-2.0-ssmpipe_demo\r\n" {
		t.Errorf("ssmpipe proxy gave %q", banner)
	}
}

func TestTheDemosEndEndsSessionsOfOtherTerminals(t *testing.T) {
	if ssmpipe == "" {
		t.Skip("the module has no command yet")
	}
	need(t, "ssh")
	checkGoroutines(t)
	checkEmpty(t, plainTemp(t))
	d, err := start(Options{Executable: ssmpipe})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*exec.Cmd
	var words []*bytes.Buffer
	for _, args := range [][]string{{"i-0demo", "echo $$; sleep 300"}, {"-J", "i-0demo", "i-0demo2", "echo $$; sleep 300"}} {
		cmd := exec.Command("ssh", append([]string{"-F", d.dir.file("ssh_config")}, args...)...)
		stderr := new(bytes.Buffer)
		startAndReadPID(t, cmd, stderr)
		clients, words = append(clients, cmd), append(words, stderr)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
	closed := time.Now()
	for i, cmd := range clients {
		stop := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		stop.Stop()
		if status := cmd.ProcessState.ExitCode(); status != 255 || strings.Contains(words[i].String(), "trying again") {
			t.Errorf("%v: status %d, stderr %q", cmd.Args, status, words[i])
		}
	}
	if took := time.Since(closed); took > 2*time.Second+margin {
		t.Errorf("the clients took %v to end", took)
	}
}
