package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
	"github.com/ssmpipe/ssmpipe/proxy/terminal"
)

var (
	// ErrLeft means that the user has left a session by its escape.
	ErrLeft = errors.New("you have left the session")

	errQuit = errors.New("asked to quit")
)

// Options say which shell to run, and on which terminal.
type Options struct {
	machine.Options
	Parameters map[string][]string // of the document
	Terminal
}

// Terminal is the local end of a remote terminal: the user's terminal, or files.
type Terminal struct {
	In, Out, Err *os.File

	// Escape is the character that begins an escape at the start of a line, if
	// In is a terminal. 0 means that there are no escapes.
	Escape byte
}

// Run opens a shell on the target and returns when the shell has ended. Errors
// are written for the user. When ctx ends, Run ends the session and returns
// ctx's cause within 2 s.
func Run(ctx context.Context, o Options) error {
	o.Fill()
	o.Use = machine.UseShell
	if o.Alone {
		stdio.TuneMemory()
	}
	conn, err := o.OpenShell(ctx, driver.ShellRequest{Terminal: true, Parameters: o.Parameters})
	if err != nil {
		return o.Explain(err)
	}
	if o.Alone {
		stdio.ReleaseStart()
	}
	err = Interact(ctx, &o.Options, conn, o.Terminal)
	conn.Close() // session reports errors
	return o.Explain(err)
}

// Interact connects t to a shell, or another command, on conn. It returns when
// the command ends (nil, once all output has been written), the user leaves it,
// or ctx ends. If t.In is a terminal, it is in raw mode meanwhile. The caller
// closes conn.
func Interact(ctx context.Context, o *machine.Options, conn stream.Shell, t Terminal) error {
	if text := conn.Message(); text != "" {
		o.Notice(safetext.Printable(text))
	}
	i := &interaction{conn: conn, Terminal: t, typed: newTyped(copyLimit), done: make(chan struct{}),
		ends: make(chan error, 2), suspend: make(chan chan struct{})}
	if terminal.Is(t.In) {
		var err error
		i.raw, err = terminal.MakeRaw(t.In, t.Out)
		if err != nil {
			return err
		}
		i.escapes.char = t.Escape
		i.typed = newTyped(pasteLimit)
	}
	defer i.raw.Restore() // also if it panics
	err := i.run(ctx)
	i.raw.Restore()
	if err != nil && i.raw != nil && i.midLine.Load() {
		io.WriteString(t.Err, "\n") // messages about the end start on a new line
	}
	return err
}

// copyLimit is the read-ahead limit, in bytes, when In is not a terminal.
const copyLimit = 4 << 10

// pasteLimit is how much typed input that cannot be sent yet is buffered. No
// escape is found beyond it.
const pasteLimit = 64 << 20

// interaction connects a local terminal to a remote one.
type interaction struct {
	Terminal
	conn    stream.Shell
	raw     *terminal.Raw // nil if In is not a terminal
	escapes escapes
	typed   *typed
	midLine atomic.Bool        // the output shown last does not end in a newline
	ends    chan error         // the reasons to end, one each from read and show
	suspend chan chan struct{} // asks run to stop the process; the value sent is closed when it continues
	done    chan struct{}      // closed when the interaction has ended
}

// endGrace is how long writing the far side's last output may take. On a blocked
// terminal the writer ends only with the process.
const endGrace = 200 * time.Millisecond

func (i *interaction) run(ctx context.Context) error {
	gone, unwatch := stdio.Watch(i.Out)
	defer unwatch()
	watch := terminal.NewWatch(i.Out, i.In)
	defer watch.Stop()
	i.resize()

	keys := terminal.NewReader(i.In)
	shown := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { i.raw.Protect(i.send) })
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer keys.Close()
		i.raw.Protect(func() { i.read(keys) })
	}()
	go func() {
		defer close(shown)
		i.raw.Protect(i.show)
	}()
	defer func() {
		close(i.done)
		keys.Stop()
		i.typed.end()
		i.conn.SetDeadline(time.Unix(1, 0))
		sending.Wait()
		for _, end := range []chan struct{}{reading, shown} {
			select {
			case <-end:
			case <-time.After(endGrace):
			}
		}
	}()
	for {
		select {
		case err := <-i.ends:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-gone:
			return stdio.ErrGone
		case resume := <-i.suspend:
			i.pause(watch)
			close(resume)
		case e := <-watch.Events:
			switch e {
			case terminal.Resized:
				i.resize()
			case terminal.Suspended:
				i.pause(watch)
			case terminal.Continued:
				i.raw.Again()
				i.resize()
			case terminal.Quit:
				return errQuit
			}
		}
	}
}

// resize tells the far side the size of the terminal.
func (i *interaction) resize() {
	if cols, rows, ok := terminal.Size(i.Out, i.In); ok {
		i.conn.Resize(cols, rows)
	}
}

// pause stops this process, and resumes the interaction when it continues.
func (i *interaction) pause(watch *terminal.Watch) {
	i.raw.Restore()
	watch.Suspend()
	i.raw.Again()
	i.resize()
}

// read reads typed input and acts on escapes. It never waits for the far side,
// which may be what the user wants to leave.
func (i *interaction) read(keys *terminal.Reader) {
	buf := make([]byte, 32<<10)
	last := byte('\n')
	for {
		n, err := keys.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			var send []byte
			var found escape
			send, found, p = i.escapes.next(p)
			if len(send) > 0 {
				last = send[len(send)-1]
			}
			i.typed.put(send)
			switch found {
			case escapeEnd:
				i.ends <- ErrLeft
				return
			case escapeHelp:
				io.WriteString(i.Err, i.escapes.help())
			case escapeSuspend:
				resume := make(chan struct{})
				select {
				case i.suspend <- resume:
					<-resume
				case <-i.done:
					return
				}
			}
		}
		switch {
		case err == nil:
		case err == io.EOF && i.raw == nil:
			// The far terminal's end of file is a character. In the middle of a
			// line, the first one only ends the line.
			if last != '\n' && last != '\r' {
				i.typed.put([]byte{eot})
			}
			i.typed.put([]byte{eot})
			return
		case errors.Is(err, os.ErrClosed):
			return
		case i.raw == nil:
			i.ends <- fmt.Errorf("reading stdin: %w", err)
			return
		default:
			i.ends <- stdio.ErrGone // the terminal has gone
			return
		}
	}
}

// eot is Ctrl-D.
const eot = 4

// send sends typed input to the far side.
func (i *interaction) send() {
	for {
		p, ok := i.typed.take()
		if !ok {
			return
		}
		if _, err := i.conn.Write(p); err != nil {
			return // show reports the cause
		}
	}
}

// show writes the far side's output until its end.
func (i *interaction) show() {
	_, err := io.Copy(stdio.NewOutput(i), struct{ io.Reader }{i.conn})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		i.ends <- err
	}
}

// Write implements io.Writer for the output shown on the terminal.
func (i *interaction) Write(p []byte) (int, error) {
	n, err := i.Out.Write(p)
	if n > 0 {
		i.midLine.Store(p[n-1] != '\n')
	}
	return n, err
}

// typed buffers typed input that has not been sent yet.
type typed struct {
	limit int

	mu    sync.Mutex
	news  sync.Cond // signals any change
	buf   []byte
	ended bool
}

func newTyped(limit int) *typed {
	t := &typed{limit: limit}
	t.news.L = &t.mu
	return t
}

// put adds p. It blocks while the buffer is full.
func (t *typed) put(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.buf) > t.limit && !t.ended {
		t.news.Wait()
	}
	t.buf = append(t.buf, p...)
	t.news.Broadcast()
}

// take returns all buffered input, or false at the end.
func (t *typed) take() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.buf) == 0 && !t.ended {
		t.news.Wait()
	}
	p := t.buf
	t.buf = nil
	t.news.Broadcast()
	return p, !t.ended
}

// end makes put and take return, now and from then on.
func (t *typed) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.news.Broadcast()
}
