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

// ErrNoTerminal says that a person must be asked, but there is no terminal.
var ErrNoTerminal = errors.New("a code is needed, but there is no terminal to ask on")

// Code asks for an MFA code on the terminal device, because stdin and stdout
// are the stream. The input is not echoed. If life ends, Code restores the
// terminal before it returns.
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
	go func() { // ends with the process at the latest: a read from a terminal cannot be canceled
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
