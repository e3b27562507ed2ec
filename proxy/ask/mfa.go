package ask

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// ErrNoTerminal says that a person would have to be asked, and there is none.
var ErrNoTerminal = errors.New("a code is needed, but there is no terminal to ask on")

// Code asks for an MFA code on the terminal device: stdin and stdout are
// the stream. What is typed is not shown. When life ends, the terminal is as it
// was before Code returns.
func Code(life context.Context, device string) (string, error) {
	ctx, done := Person.Ask(life)
	defer done()
	if ctx.Err() != nil {
		return "", fmt.Errorf("MFA: %w", context.Cause(ctx))
	}
	in, out, err := OpenTerminal()
	if err != nil {
		return "", fmt.Errorf("MFA: %w: %v", ErrNoTerminal, err)
	}
	defer in.Close()
	defer out.Close()
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("MFA: %w: %v", ErrNoTerminal, err)
	}
	fmt.Fprintf(out, "MFA code for %s: ", safetext.Printable(device))
	defer lastly.Add(func(context.Context) { term.Restore(int(in.Fd()), before) })()
	type answer struct {
		code []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // ends with the process at the latest: a terminal's read cannot be called off
		code, err := term.ReadPassword(int(in.Fd()))
		answers <- answer{code, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(out)
		if a.err != nil {
			return "", fmt.Errorf("MFA: %w", a.err)
		}
		return strings.TrimSpace(string(a.code)), nil
	case <-ctx.Done():
		term.Restore(int(in.Fd()), before)
		fmt.Fprintln(out)
		return "", fmt.Errorf("MFA: %w", context.Cause(ctx))
	}
}

func OpenTerminal() (in, out *os.File, err error) {
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
