package stdio_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestStdoutCloses: whoever read it has gone, which is noticed at once, not
// when there is something to write.
func TestStdoutCloses(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	p := b.Start(t, rigtest.Node1)
	b.Far(t)
	p.Out.Close()
	p.WantEnd(t, b, 2*time.Second, 1, "")
}

// TestBothPipesClose is how a user leaves.
func TestBothPipesClose(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	p := b.Start(t, rigtest.Node1)
	far := b.Far(t)
	p.In.Write([]byte("bye"))
	p.In.Close()
	got := make([]byte, 3)
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	p.Out.Close()
	p.WantEnd(t, b, 2*time.Second, 0, "")
}

// TestStdoutClosesWhileConnecting: nobody waits for the session any more.
func TestStdoutClosesWhileConnecting(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBare(t, ssmtest.Config{})
	b.StallAgent(true)
	p := b.Start(t, rigtest.Node1)
	rigtest.WaitFor(t, "session", func() bool { return len(b.Sessions()) == 1 })
	p.Out.Close()
	p.WantEnd(t, b, 2*time.Second, 1, "")
}

// TestStdoutIsFull: an output that cannot be written is no success.
func TestStdoutIsFull(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	b := rigtest.NewBare(t, ssmtest.Config{})
	cmd := b.Command(rigtest.Node1)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = full, &stderr // and stdin is empty
	rigtest.Start(t, cmd)
	b.Far(t).Write([]byte("precious"))
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 1 || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("status %d, stderr %q", status, &stderr)
	}
}
