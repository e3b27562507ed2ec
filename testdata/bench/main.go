// Bench compares ssmpipe with plain TCP, on loopback, and prints Markdown
// tables:
//
//	go run ./testdata/bench [-short] [-long] [-only transfer,paths] [-size 256]
//	go run ./testdata/bench [-short] -only others
//
// The second form also measures other clients of Session Manager, which it
// fetches from the Go module proxy.
//
// The measured client is the real binary in a process of its own, except in the
// sections paths and resume, which need access to the connection. It talks to
// ssmtest: a service and an agent that behave like the real ones, with the
// agent's sleep of 1 ms per message off unless a row says otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is one run of the program.
type bench struct {
	ctx     context.Context
	dir     string // temporary; its name is short, because it contains sockets
	self    string // this program
	ssmpipe string // the measured binary
	short   bool
	long    bool
	size    int64 // of a transfer, in bytes
}

// errSkip is wrapped by errors that say why a section cannot be measured here.
var errSkip = errors.New("not measured here")

var sections = []struct {
	name  string
	run   func(*bench) error
	asked bool // runs only with -only
}{
	{"transfer", (*bench).transfer, false},
	{"start", (*bench).start, false},
	{"paths", (*bench).paths, false},
	{"resume", (*bench).resume, false},
	{"holes", (*bench).holes, false},
	{"interactive", (*bench).interactive, false},
	{"forward", (*bench).forward, false},
	{"shell", (*bench).shell, false},
	{"others", (*bench).others, true}, // fetches and runs third-party programs
}

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			return
		}
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{}
	var names, chosen []string
	for _, s := range sections {
		names = append(names, s.name)
		if !s.asked {
			chosen = append(chosen, s.name)
		}
	}
	only := flag.String("only", "", "`sections` to run, with commas: "+strings.Join(names, ", "))
	size := flag.Int("size", 0, "`MiB` of a transfer (256; 64 with -short)")
	flag.BoolVar(&b.short, "short", false, "short runs, for a first impression")
	flag.BoolVar(&b.long, "long", false, "also transfer 2 GiB and watch the memory")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *only != "" {
		chosen = strings.Split(*only, ",")
		for _, name := range chosen {
			if !slices.Contains(names, name) {
				return fmt.Errorf("no section %q; there are %s", name, strings.Join(names, ", "))
			}
		}
	}
	if *size == 0 {
		*size = pick(b, 64, 256)
	}
	b.size = int64(*size) << 20

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b.ctx = ctx
	if err := b.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.heading()
	var failed []string
	for _, s := range sections {
		if !slices.Contains(chosen, s.name) {
			continue
		}
		progress("section %s", s.name)
		err := s.run(b)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			fmt.Printf("\n%s: %v\n", s.name, err)
			if !errors.Is(err, errSkip) {
				failed = append(failed, s.name)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// prepare makes the temporary directory and builds the binary into it.
func (b *bench) prepare() (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	root := "" // the system's
	if _, err := os.Stat("/tmp"); err == nil {
		root = "/tmp" // a socket's path is limited to about 100 bytes, and some $TMPDIR take most of them
	}
	if b.dir, err = os.MkdirTemp(root, "bench"); err != nil {
		return err
	}
	b.ssmpipe = filepath.Join(b.dir, "ssmpipe")
	progress("building ssmpipe")
	if out, err := exec.CommandContext(b.ctx, "go", "build", "-o", b.ssmpipe, "github.com/ssmpipe/ssmpipe").CombinedOutput(); err != nil {
		os.RemoveAll(b.dir)
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// heading prints the versions and hardware that the figures depend on.
func (b *bench) heading() {
	ssh := "none"
	if out, err := exec.CommandContext(b.ctx, "ssh", "-V").CombinedOutput(); err == nil {
		ssh = strings.TrimSpace(string(out))
	}
	how := "full durations"
	if b.short {
		how = "`-short`"
	}
	fmt.Printf("# ssmpipe compared with plain TCP\n\n%s · %s · %s/%s, GOMAXPROCS %d · %s · %s · %s\n",
		time.Now().Format(time.DateOnly), cpuModel(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), runtime.Version(), ssh, how)
	fmt.Printf("\nEverything shares these processors: client, service, agent, and the far end.\n")
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// pick returns the first value for a -short run and the second for a full one.
func pick[T any](b *bench, short, full T) T {
	if b.short {
		return short
	}
	return full
}

// pause sleeps, or returns early if the run ends.
func (b *bench) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.ctx.Done():
	}
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
