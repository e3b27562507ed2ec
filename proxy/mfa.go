package proxy

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// ErrNoTerminal says that a person would have to be asked, and there is none.
var ErrNoTerminal = errors.New("a code is needed, but there is no terminal to ask on")

// askCode asks for an MFA code on the terminal device: stdin and stdout are
// the stream. What is typed is not shown.
func askCode(device string) (string, error) {
	in, out, err := openTerminal()
	if err != nil {
		return "", fmt.Errorf("MFA: %w: %v", ErrNoTerminal, err)
	}
	defer in.Close()
	defer out.Close()
	fmt.Fprintf(out, "MFA code for %s: ", printable(device))
	code, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(out)
	if err != nil {
		return "", fmt.Errorf("MFA: %w", err)
	}
	return strings.TrimSpace(string(code)), nil
}

func openTerminal() (in, out *os.File, err error) {
	inName, outName := "/dev/tty", "/dev/tty"
	if runtime.GOOS == "windows" {
		inName, outName = "CONIN$", "CONOUT$"
	}
	if in, err = os.OpenFile(inName, os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile(outName, os.O_RDWR, 0); err != nil {
		in.Close()
		return nil, nil, err
	}
	return in, out, nil
}
