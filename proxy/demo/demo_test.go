//go:build unix

package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// trickyTemp makes TMPDIR one whose name a shell and ssh's config both trip on.
func trickyTemp(t *testing.T) string {
	t.Helper()
	tmp := filepath.Join(t.TempDir(), "it's 100%h $HOME")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	return tmp
}

// plainTemp makes TMPDIR a fresh directory with a name like any other. For
// ssh -J: ssh starts itself then with the config's name unquoted.
func plainTemp(t *testing.T) string {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	return tmp
}

// checkEmpty fails the test unless dir is empty at its end.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
}

// startDemo starts a demo in tmp whose ssmpipe connects to the instances' SSH
// servers directly, and writes the AWS settings that it was given to settings.
func startDemo(t *testing.T, tmp string) (d *demo, settings string) {
	t.Helper()
	need(t, "ssh", "scp", "sftp", "rsync")
	checkGoroutines(t)
	exe := filepath.Join(t.TempDir(), "fake ssm'pipe")
	settings = filepath.Join(t.TempDir(), "settings")
	d, err := start(Options{Executable: exe, NoSleep: true})
	if err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, tmp)
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nenv | grep ^AWS_ | sort >%s\n[ \"$2\" = i-0demo ] && port=%s || port=%s\n%s=127.0.0.1:${port##*:} exec %s \"$@\"\n",
		shellQuote(settings), d.sshds[0].Addr(), d.sshds[1].Addr(), proxyTo, shellQuote(self))
	if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return d, settings
}

func TestConfigWorksFromAnyTerminal(t *testing.T) {
	d, settings := startDemo(t, trickyTemp(t))
	config := d.dir.file("ssh_config")
	cmd := exec.Command("ssh", "-F", config, "i-0demo", "echo $USER; exit 3")
	cmd.Env = append(os.Environ(), "AWS_PROFILE=mine", "AWS_ENDPOINT_URL_SSM=https://example.invalid")
	stdout, stderr, status := run(t, cmd)
	if stdout != login+"\n" || stderr != "" || status != 3 {
		t.Errorf("stdout %q, stderr %q, status %d", stdout, stderr, status)
	}
	got := string(readFile(t, settings))
	for _, want := range d.service.Env() {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is not in ssmpipe's environment:\n%s", want, got)
		}
	}
	if strings.Contains(got, "AWS_PROFILE") || strings.Contains(got, "_SSM") {
		t.Errorf("settings of the terminal's have come through:\n%s", got)
	}
}

func TestJumpsLandInTheOtherInstance(t *testing.T) {
	d, _ := startDemo(t, plainTemp(t))
	config := d.dir.file("ssh_config")
	if got := succeed(t, exec.Command("ssh", "-F", config, "-J", "i-0demo", "i-0demo2", "pwd")); !strings.Contains(got, "i-0demo2") {
		t.Errorf("the jump ended in %q", got)
	}
}

func TestPrintedLinesWork(t *testing.T) {
	d, _ := startDemo(t, plainTemp(t))
	var ran int
	for line := range strings.Lines(d.dir.instructions()) {
		line, indented := strings.CutPrefix(line, "  ")
		if !indented || strings.Contains(line, "-L 8022") || strings.HasPrefix(line, "ss") && !strings.Contains(line, "-F") {
			continue // the forward does not end, and the others need the "." line
		}
		if strings.HasPrefix(line, ". ") {
			line += "ssh i-0demo pwd\nscp -q i-0demo:known_hosts /dev/null\ncommand -v ssmpipe"
		}
		cmd := exec.Command("sh", "-e")
		cmd.Stdin = strings.NewReader(line + "\n") // and so the end of what is typed into ssh and sftp
		succeed(t, cmd)
		ran++
	}
	if ran != 7 {
		t.Errorf("%d lines ran", ran)
	}
}

func TestCommandsFindTheirWayByTheWrappers(t *testing.T) {
	for name, c := range map[string]struct {
		temp func(*testing.T) string
		also []string
	}{
		"plain":  {plainTemp, []string{"rsync -e 'ssh -J i-0demo' up i-0demo2:e", "ssh -J i-0demo i-0demo2 cmp d e"}},
		"tricky": {trickyTemp, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, settings := startDemo(t, c.temp(t))
			t.Setenv("AWS_PROFILE", "mine")
			t.Setenv("RSYNC_RSH", "false")
			t.Setenv("WORK", t.TempDir())
			data := randomBytes(1 << 20)
			writeFile(t, filepath.Join(os.Getenv("WORK"), "up"), data)
			for _, line := range append([]string{
				"scp up i-0demo:a && ssh i-0demo cat a | cmp - up",
				"scp i-0demo:a i-0demo2:b && scp -3 i-0demo2:b i-0demo:c && scp i-0demo:c c && cmp c up",
				"echo get a a | sftp -b - i-0demo && cmp a up",
				"rsync up i-0demo2:d && rsync i-0demo2:d d && cmp d up",
				"! command -v git || { ssh i-0demo git init -q --bare r && git ls-remote i-0demo:r; }",
			}, c.also...) {
				var output bytes.Buffer
				o := Options{Command: []string{"sh", "-c", `cd "$WORK" && ` + line}, Stdout: &output, Stderr: &output}
				status, err := runCommand(t.Context(), o, d.dir.environ(os.Environ()))
				if status != 0 || err != nil {
					t.Errorf("%s: status %d, %v\n%s", line, status, err, output.Bytes())
				}
			}
			if got := string(readFile(t, settings)); strings.Contains(got, "AWS_PROFILE") {
				t.Errorf("the user's settings have come through:\n%s", got)
			}
		})
	}
}

func TestOnlyTheUserCanReadTheFiles(t *testing.T) {
	d, _ := startDemo(t, trickyTemp(t))
	err := filepath.Walk(d.dir.path, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestHostileTempNamesAreRefused(t *testing.T) {
	for _, name := range []string{`a"b`, "a${HOME}", "a\nb", `a\b`} {
		tmp := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(tmp, 0o700); err != nil {
			t.Fatal(err)
		}
		checkEmpty(t, tmp)
		t.Setenv("TMPDIR", tmp)
		if status, err := Run(t.Context(), Options{Command: []string{"true"}}); err == nil || status != 1 || !strings.Contains(err.Error(), "TMPDIR") {
			t.Errorf("%q: status %d, %v", name, status, err)
		}
	}
}

func TestRunReturnsTheCommandsStatus(t *testing.T) {
	checkGoroutines(t)
	checkEmpty(t, trickyTemp(t))
	plain := filepath.Join(t.TempDir(), "plain")
	writeFile(t, plain, []byte("not a program"))
	for _, c := range []struct {
		command []string
		status  int
		err     string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "exit 42"}, 42, ""},
		{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{[]string{"no-such-command"}, 127, "no such command"},
		{[]string{filepath.Join(filepath.Dir(plain), "none")}, 127, "no such command"},
		{[]string{plain}, 126, "permission denied"},
		{[]string{os.TempDir()}, 126, "cannot be run"},
		{[]string{""}, 127, "no such command"},
	} {
		status, err := Run(t.Context(), Options{Command: c.command})
		if status != c.status || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: status %d, error %v", c.command, status, err)
		}
	}
}

func TestRunConnectsTheCommand(t *testing.T) {
	checkGoroutines(t)
	checkEmpty(t, trickyTemp(t))
	var stdout, stderr bytes.Buffer
	status, err := Run(t.Context(), Options{
		Command: []string{"sh", "-c", "cat; echo err >&2"},
		Stdin:   strings.NewReader("in"), Stdout: &stdout, Stderr: &stderr,
	})
	if status != 0 || err != nil || stdout.String() != "in" || stderr.String() != "err\n" {
		t.Errorf("status %d, %v, stdout %q, stderr %q", status, err, stdout.String(), stderr.String())
	}
}

func TestRunWithoutACommandPrintsAndWaits(t *testing.T) {
	checkGoroutines(t)
	tmp := trickyTemp(t)
	checkEmpty(t, tmp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type result struct {
		status int
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		status, err := Run(ctx, Options{Command: []string{}, Stdout: w})
		w.Close()
		ended <- result{status, err}
	}()
	buf := make([]byte, 4096)
	n, _ := r.Read(buf)
	if text := string(buf[:n]); !strings.Contains(text, "ssh -F ") || !strings.HasSuffix(text, "Press Ctrl-C to end.\n") {
		t.Errorf("printed %q", text)
	}
	select {
	case got := <-ended:
		t.Fatalf("ended by itself: %v", got)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if got := <-ended; got.status != 0 || got.err != nil {
		t.Errorf("ended with %v", got)
	}
}

func TestEndOfTheContextEndsTheCommand(t *testing.T) {
	checkGoroutines(t)
	checkEmpty(t, trickyTemp(t))
	for name, c := range map[string]struct {
		script string
		status int
		atMost time.Duration
	}{
		"that heeds SIGTERM":   {"echo; exec sleep 60", 128 + 15, time.Second},
		"that handles SIGTERM": {"trap 'exit 9' TERM; echo; while :; do sleep 0.05; done", 9, time.Second},
		"that ignores SIGTERM": {"trap '' TERM; echo; while :; do sleep 0.05; done", 128 + 9, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var cancelled time.Time
			go func() {
				_, _ = r.Read(make([]byte, 1)) // the command is up
				cancelled = time.Now()
				cancel()
			}()
			status, err := Run(ctx, Options{Command: []string{"sh", "-c", c.script}, Stdout: w})
			w.Close()
			if status != c.status || err != nil {
				t.Errorf("status %d, %v", status, err)
			}
			if took := time.Since(cancelled); took > c.atMost+margin {
				t.Errorf("it took %v", took)
			}
		})
	}
}
