// Package openssh runs the ssh of this machine to ask it about itself: its
// version (ssh -V), and what it makes of its configuration (ssh -G).
//
// It may use nothing else of this module. Begin with [Ask].
package openssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// limit bounds each call of ssh.
const limit = 5 * time.Second

// Ask runs ssh, the program at path, with arguments that make it print something
// and end. It gets no stdin, and has ended when Ask returns.
func Ask(ctx context.Context, path string, args ...string) (stdout, stderr string, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not exit within %v", limit))
	defer stop()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second // for what it has started, which holds the pipes
	err = cmd.Run()
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.String(), said.String(), err
}
