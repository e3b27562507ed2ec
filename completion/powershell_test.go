package completion

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPowerShellScript has PowerShell parse the script where there is one. Where
// there is none, it is read by readPowerShell, which sees that strings, comments
// and brackets end, and nothing of the grammar.
func TestPowerShellScript(t *testing.T) {
	script, err := Script("powershell")
	if err != nil {
		t.Fatal(err)
	}
	code, err := readPowerShell(script)
	if err != nil {
		t.Error(err)
	}
	for _, must := range []string{
		`Register-ArgumentCompleter -Native -CommandName ssmpipe, ssh, scp, sftp -ScriptBlock \{`,
		`param\(\$wordToComplete, \$commandAst, \$cursorPosition\)`,
		`complete powershell \$encoded 2>\$null`,
		`CompletionResult\]::new\(\s*\$candidate\.text, \$candidate\.item, '', \$candidate\.help\)`,
	} {
		if !regexp.MustCompile(must).MatchString(code) {
			t.Errorf("no %s in\n%s", must, code)
		}
	}
	for _, never := range []string{"Invoke-Expression", "iex ", "#requires"} {
		if strings.Contains(code, never) {
			t.Errorf("%s in the script", never)
		}
	}
	if strings.ContainsFunc(script, func(r rune) bool { return r >= 0x80 }) {
		t.Error("it is not ASCII, and who knows by which code page it is read")
	}
	pwsh, err := exec.LookPath("pwsh")
	if err != nil {
		t.Log("PowerShell is missing: only strings, comments and brackets were looked at")
		return
	}
	cmd := exec.Command(pwsh, "-NoProfile", "-NonInteractive", "-Command",
		`$errors = $null; [void][System.Management.Automation.Language.Parser]::ParseInput($env:SCRIPT, [ref]$null, [ref]$errors); $errors; exit $errors.Count`)
	cmd.Env = append(os.Environ(), "SCRIPT="+script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPowerShellReader(t *testing.T) {
	for script, ok := range map[string]bool{
		"{ 'it''s' \"a`\"b$(1)\" # it's (\n}": true,
		"{ ( }":                               false,
		"{":                                   false,
		")":                                   false,
		"'open":                               false,
		"\"open`\"":                           false,
	} {
		if _, err := readPowerShell(script); (err == nil) != ok {
			t.Errorf("%q: %v", script, err)
		}
	}
}

// readPowerShell returns a script without its comments and with what is in its
// strings left out. It knows the strings that this script has: no here-strings,
// and nothing in double quotes but characters and escapes.
func readPowerShell(script string) (code string, err error) {
	var b strings.Builder
	var open []rune
	var quote rune
	runes := []rune(script)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote == '"' && r == '`':
			i++
		case quote != 0 && r == quote && i+1 < len(runes) && runes[i+1] == quote:
			i++ // two of them are one
		case quote != 0 && r != quote:
		case quote != 0:
			quote = 0
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote = r
			b.WriteRune(r)
		case r == '#':
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		case strings.ContainsRune("({[", r):
			open = append(open, r)
			b.WriteRune(r)
		case strings.ContainsRune(")}]", r):
			last := len(open) - 1
			if last < 0 || !strings.Contains("(){}[]", string([]rune{open[last], r})) {
				return "", fmt.Errorf("%c closes nothing", r)
			}
			open = open[:last]
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	if quote != 0 || len(open) > 0 {
		return "", fmt.Errorf("%c and %q are not closed", quote, open)
	}
	return b.String(), nil
}
