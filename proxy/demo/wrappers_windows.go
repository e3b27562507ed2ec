package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// wrapper returns the path of the wrapper for a tool.
func (d *dir) wrapper(tool string) string { return filepath.Join(d.path, "bin", tool+".cmd") }

// writeWrappers writes env.cmd and bin.
func (d *dir) writeWrappers(executable string) error {
	env := d.file("env.cmd")
	if err := os.WriteFile(env, []byte(d.envScript()), 0o600); err != nil {
		return err
	}
	scripts := map[string]string{
		"ssmpipe": fmt.Sprintf("setlocal\ncall %s\n%s %%*", batchQuote(env), batchQuote(executable)),
	}
	for _, tool := range []string{"ssh", "scp", "sftp"} {
		if real, err := lookPath(tool, os.Getenv("PATH")); err == nil {
			scripts[tool] = fmt.Sprintf("%s -F %s %%*", batchQuote(real), batchQuote(d.file("ssh_config")))
		}
	}
	for tool, body := range scripts {
		text := "@echo off\n" + body + "\nexit /b %errorlevel%\n"
		if err := os.WriteFile(d.wrapper(tool), []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// envScript returns a script that makes a console part of the demo. It removes
// existing settings that would make ssmpipe connect elsewhere.
func (d *dir) envScript() string {
	var b strings.Builder
	b.WriteString("@for /f \"delims==\" %%v in ('set AWS_ 2^>nul') do @set \"%%v=\"\r\n")
	for _, v := range d.aws {
		fmt.Fprintf(&b, "@set \"%s\"\r\n", doublePercent(v))
	}
	fmt.Fprintf(&b, "@set \"PATH=%s;%%PATH%%\"\r\n", doublePercent(d.file("bin")))
	return b.String()
}

// enterLine returns the line to type to make a console part of the demo.
func (d *dir) enterLine() string { return "call " + shellQuote(d.file("env.cmd")) }

// shellQuote quotes a path as one word of a command line. File names cannot contain
// quotes.
func shellQuote(path string) string { return `"` + path + `"` }

// batchQuote is shellQuote for a batch file, where % begins a variable.
func batchQuote(path string) string { return doublePercent(shellQuote(path)) }
