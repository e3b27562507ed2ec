package completion_test

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
)

// ssmpipe is the binary under test, built by TestMain.
var ssmpipe string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "ssmpipe-test")
	if err != nil {
		log.Fatal(err)
	}
	ssmpipe = filepath.Join(dir, "ssmpipe")
	// Not with -race: it does one thing after the other, and each Tab starts it.
	if out, err := exec.Command("go", "build", "-o", ssmpipe, "github.com/ssmpipe/ssmpipe").CombinedOutput(); err != nil {
		log.Fatalf("go build: %v\n%s", err, out)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// need returns a tool's path. Where it is missing the test is skipped, but not
// in CI.
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", tool)
		}
		t.Skipf("%s is missing", tool)
	}
	return path
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// environ is what processes find in home that use srv, and nothing of who runs
// the test.
func environ(home string, srv *awstest.Server) []string {
	return append(srv.Env(),
		"HOME="+home, "USER=tester", "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8",
		"XDG_CACHE_HOME="+filepath.Join(home, "cache"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"),
		"XDG_DATA_HOME="+filepath.Join(home, "data"),
		"AWS_CONFIG_FILE="+filepath.Join(home, ".aws", "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, ".aws", "credentials"),
		"PATH="+filepath.Join(home, "bin")+":"+filepath.Dir(ssmpipe)+":"+os.Getenv("PATH"))
}

// service starts one with nodes, and makes a home for a user of it.
func service(t testing.TB, nodes []awstest.Node) (srv *awstest.Server, home string) {
	t.Helper()
	srv = awstest.NewServer(awstest.Config{})
	t.Cleanup(srv.Close)
	for _, n := range nodes {
		srv.AddNode(n)
	}
	home, err := os.MkdirTemp("", "ssmpipe-test")
	if err != nil {
		t.Fatal(err)
	}
	// What runs in the background may still be writing.
	t.Cleanup(func() { os.RemoveAll(home) })
	writeFile(t, filepath.Join(home, "keyfile"), "")
	writeFile(t, filepath.Join(home, ".aws", "config"), "[default]\n[profile staging]\nregion = eu-central-1\n")
	writeFile(t, filepath.Join(home, ".ssh", "known_hosts"), "known.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxxx\n")
	return srv, home
}

// newHome makes a home where nodes are known already.
func newHome(t testing.TB, nodes []awstest.Node) (home string, env []string) {
	t.Helper()
	srv, home := service(t, nodes)
	env = environ(home, srv)
	cmd := exec.Command(ssmpipe, "complete", "refresh", "", "")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("refresh: %v, %s", err, out)
	}
	return home, env
}

// complete asks for what words may go on with, as fish does.
func complete(t testing.TB, env []string, words ...string) string {
	t.Helper()
	cmd := exec.Command(ssmpipe, append([]string{"complete", "fish"}, words...)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v\n%s", words, err, out)
	}
	return string(out)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// limit is for a machine with a lot to do.
const limit = 30 * time.Second

func manyNodes(n int) (nodes []awstest.Node) {
	for i := range n {
		nodes = append(nodes, awstest.Node{ID: fmt.Sprintf("i-%017d", i), Name: fmt.Sprintf("fleet-%04d", i),
			Tags: map[string]string{"Team": "fleet", "Stage": "production", "Owner": "somebody@example.org"}})
	}
	return nodes
}
