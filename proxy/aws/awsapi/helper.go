package awsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"golang.org/x/term"

	"github.com/ssmpipe/ssmpipe/proxy/ask"
)

// helper runs a profile's credential_process. The SDK's own provider gives the
// program our stdin, which is the stream; quotes what the program has printed,
// secrets too, where it cannot be read; and ends it after a minute, which is
// too short for a login. Its output is not passed on anywhere.
type helper struct {
	life    context.Context // of whoever needs the credentials
	command string          // for the shell
}

// lastHelper is how long a helper may take once its credentials are needed for
// nothing but to end the session.
const lastHelper = time.Second

// maxHelperOutput is far more than credentials take.
const maxHelperOutput = 64 << 10

// HelperError says why there are no credentials from a helper. It holds nothing
// of what the helper has printed, and of its command line only the program.
type HelperError struct {
	program string // "" if that is not plain
	err     error
}

func (e *HelperError) Error() string {
	if e.program == "" {
		return "credential_process: " + e.err.Error()
	}
	return fmt.Sprintf("credential_process (%s): %v", e.program, e.err)
}

func (e *HelperError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (h *helper) Retrieve(context.Context) (aws.Credentials, error) {
	creds := aws.Credentials{}
	out, err := h.run()
	if err == nil {
		creds, err = parseHelperOutput(out)
	}
	creds.Source = processcreds.ProviderName
	if err != nil {
		return creds, &HelperError{programOf(h.command), err}
	}
	return creds, nil
}

// run returns what the helper has printed. The helper may ask a person.
func (h *helper) run() ([]byte, error) {
	life := h.life
	if life.Err() != nil {
		var stop context.CancelFunc
		life, stop = context.WithTimeout(context.WithoutCancel(life), lastHelper)
		defer stop()
	}
	ctx, done := ask.Person.Ask(life)
	defer done()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	args := []string{"sh", "-c", h.command}
	if runtime.GOOS == "windows" {
		args = []string{"cmd.exe", "/C", h.command}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second // for what it has started, which holds the pipe
	in, err := ask.ChildInput()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out := &boundedBuffer{max: maxHelperOutput}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr // where it asks
	terminal, _ := term.GetState(int(in.Fd()))             // nil: that is none
	ask.EndGently(cmd, terminal != nil)
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		if terminal != nil {
			term.Restore(int(in.Fd()), terminal)
		}
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // all that counts has been printed
	}
	return out.b, err
}

// boundedBuffer keeps what is written, up to a limit.
type boundedBuffer struct {
	b   []byte
	max int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if len(b.b)+len(p) > b.max {
		return 0, fmt.Errorf("it has printed more than %d KiB", b.max>>10)
	}
	b.b = append(b.b, p...)
	return len(p), nil
}

// parseHelperOutput reads what a credential_process prints. No error quotes it.
func parseHelperOutput(out []byte) (aws.Credentials, error) {
	var said processcreds.CredentialProcessResponse
	if runtime.GOOS == "windows" {
		out = []byte(strings.ReplaceAll(string(out), `\"`, `"`)) // as cmd.exe's echo quotes
	}
	wrong := func(text string) (aws.Credentials, error) { return aws.Credentials{}, errors.New(text) }
	switch err := json.Unmarshal(out, &said); {
	case len(strings.TrimSpace(string(out))) == 0:
		return wrong("it has printed nothing on stdout")
	case err != nil:
		return wrong("what it has printed on stdout is not the JSON of credentials alone")
	case said.Version != 1:
		return wrong("the Version in what it has printed is not 1")
	case said.AccessKeyID == "":
		return wrong("AccessKeyId is missing in what it has printed")
	case said.SecretAccessKey == "":
		return wrong("SecretAccessKey is missing in what it has printed")
	}
	creds := aws.Credentials{
		AccessKeyID:     said.AccessKeyID,
		SecretAccessKey: said.SecretAccessKey,
		SessionToken:    said.SessionToken,
		AccountID:       said.AccountID,
	}
	if said.Expiration != nil {
		creds.CanExpire, creds.Expires = true, *said.Expiration
	}
	return creds, nil
}

var (
	commandWord = regexp.MustCompile(`^\s*(?:"([^"]*)"|'([^']*)'|(\S+))`)
	assignment  = regexp.MustCompile(`^\s*[A-Za-z_][0-9A-Za-z_]*=`)
	programForm = regexp.MustCompile(`^[0-9A-Za-z_./\\: ~+-]{1,200}$`)
)

// programOf returns the program that a shell's command line begins with, or ""
// if that is not plain to see. What follows may be secret, as may be variables
// that are set before it.
func programOf(command string) string {
	m := commandWord.FindStringSubmatch(command)
	if m == nil || assignment.MatchString(command) {
		return ""
	}
	if program := m[1] + m[2] + m[3]; programForm.MatchString(program) {
		return program
	}
	return ""
}
