package rigtest

import (
	"flag"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
)

// SSMPipe is the binary under test, built by [Main].
var SSMPipe string

// Again is an environment variable for a test binary that a test runs again,
// perhaps as somebody who cannot build: it does without the binary under test.
const Again = "SSMPIPE_TEST_AGAIN"

// takeTo is the environment variable that has a test binary copy the program
// that go run would have it run.
const takeTo = "SSMPIPE_TEST_TAKE_TO"

// Main builds the binary and runs the tests of a package: its TestMain exits
// with what this returns. m is a [testing.M], or something around one.
func Main(m interface{ Run() int }) (status int) {
	if name := os.Getenv(takeTo); name != "" {
		if err := copyProgram(name, os.Args[1]); err != nil {
			log.Fatal(err)
		}
		return 0
	}
	if os.Getenv(Again) != "" {
		return m.Run()
	}
	// These tests wait for the agent's pace, not for a processor.
	flag.Set("test.parallel", "12")
	flag.Parse()
	dir, err := os.MkdirTemp("", "ssmpipe-test")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	SSMPipe = filepath.Join(dir, "ssmpipe")
	if out, err := build(SSMPipe).CombinedOutput(); err != nil {
		log.Fatalf("go run: %v\n%s", err, out)
	}
	os.Setenv("SSMPIPE_CACHE", filepath.Join(dir, "cache")) // for what runs in this process
	return m.Run()
}

// build makes the binary as go run does, which keeps what it links in the build
// cache: the packages with such tests share it.
func build(name string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	args := []string{"run", "-exec", `"` + self + `"`}
	if Race() {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/ssmpipe/ssmpipe")...)
	cmd.Env = append(os.Environ(), takeTo+"="+name)
	return cmd
}

func copyProgram(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Close()
}

// Race tells whether this test looks for races; then the binary does too.
func Race() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "-race" && s.Value == "true"
	})
}
