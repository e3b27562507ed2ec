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

// helper runs a profile's credential_process. The SDK's own provider is
// unsuitable: it gives the program our stdin, which is the stream; it quotes
// output that it cannot parse, secrets included; and it kills the program after
// a minute, which is too short for a login. helper does not pass the output on.
type helper struct {
	life    context.Context // of the user of the credentials
	command string          // passed to the shell
}

// lastHelper is how long a helper may take when the credentials are needed only
// to end the session.
const lastHelper = time.Second

// maxHelperOutput is far more than credentials need.
const maxHelperOutput = 64 << 10

// HelperError says why a helper gave no credentials. It contains none of the
// helper's output, and only the program from its command line.
type HelperError struct {
	program string // "" if not clear
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

// run runs the helper, which may ask a person, and returns its output.
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
	cmd.WaitDelay = time.Second // for its children, which hold the pipe
	in, err := ask.ChildInput()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out := &boundedBuffer{max: maxHelperOutput}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr // the helper asks on the terminal
	terminal, _ := term.GetState(int(in.Fd()))             // nil if in is not a terminal
	ask.EndGently(cmd, terminal != nil)
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		if terminal != nil {
			term.Restore(int(in.Fd()), terminal)
		}
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // the complete output is there
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
		return 0, fmt.Errorf("it printed more than %d KiB", b.max>>10)
	}
	b.b = append(b.b, p...)
	return len(p), nil
}

// parseHelperOutput parses the output of a credential_process. Its errors do
// not quote it.
func parseHelperOutput(out []byte) (aws.Credentials, error) {
	var said processcreds.CredentialProcessResponse
	if runtime.GOOS == "windows" {
		out = []byte(strings.ReplaceAll(string(out), `\"`, `"`)) // cmd.exe's echo quotes this way
	}
	wrong := func(text string) (aws.Credentials, error) { return aws.Credentials{}, errors.New(text) }
	switch err := json.Unmarshal(out, &said); {
	case len(strings.TrimSpace(string(out))) == 0:
		return wrong("it printed nothing on stdout")
	case err != nil:
		return wrong("its output on stdout must be credentials in JSON and nothing else")
	case said.Version != 1:
		return wrong("the Version in its output is not 1")
	case said.AccessKeyID == "":
		return wrong("AccessKeyId is missing from its output")
	case said.SecretAccessKey == "":
		return wrong("SecretAccessKey is missing from its output")
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

// programOf returns the program that a shell command line starts with, or "" if
// that is not clear. The rest of the line may be secret, and so may variables
// set before the program.
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
