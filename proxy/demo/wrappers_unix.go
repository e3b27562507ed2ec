//go:build unix

package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// wrapper returns the path of the wrapper for a tool.
func (d *dir) wrapper(tool string) string { return filepath.Join(d.path, "bin", tool) }

// writeWrappers writes env and bin.
func (d *dir) writeWrappers(executable string) error {
	env := d.file("env")
	if err := os.WriteFile(env, []byte(d.envScript()), 0o600); err != nil {
		return err
	}
	scripts := map[string]string{
		"ssmpipe": fmt.Sprintf(". %s\n%s\nexec %s \"$@\"", shellQuote(env), d.users.join(), shellQuote(executable)),
	}
	// scp and sftp start ssh by its full path, bypassing the wrapper, but pass
	// -F on. rsync and git look for ssh on PATH.
	for _, tool := range []string{"ssh", "scp", "sftp"} {
		if real, err := lookPath(tool, os.Getenv("PATH")); err == nil {
			scripts[tool] = fmt.Sprintf("exec %s -F %s \"$@\"", shellQuote(real), shellQuote(d.file("ssh_config")))
		}
	}
	for tool, body := range scripts {
		if err := os.WriteFile(d.wrapper(tool), []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// envScript returns a script that makes a shell part of the demo. It removes
// existing settings, such as a profile or another endpoint, that would make ssmpipe
// connect elsewhere.
func (d *dir) envScript() string {
	var b strings.Builder
	b.WriteString(`for v in $(env | sed -n 's/^\(AWS_[A-Za-z0-9_]*\)=.*/\1/p') RSYNC_RSH GIT_SSH GIT_SSH_COMMAND; do unset "$v"; done` + "\n")
	for _, v := range d.aws {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(value))
	}
	fmt.Fprintf(&b, "PATH=%s:$PATH\n", shellQuote(d.file("bin")))
	return b.String()
}

// enterLine returns the line to type to make a terminal part of the demo.
func (d *dir) enterLine() string { return ". " + shellQuote(d.file("env")) }

// shellQuote quotes s as one word of a POSIX shell, and of csh and fish as well: no
// shell expands text in single quotes.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("%+,-./:=@_", r))
	}
	if s != "" && !strings.ContainsFunc(s, plain) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
