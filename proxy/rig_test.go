package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// need returns a tool's path. Where it is missing the test is skipped, but not
// in CI.
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + tool)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", tool)
		}
		t.Skipf("%s is missing", tool)
	}
	return path
}

const (
	node1 = "i-0123456789abcdef0"
	node2 = "i-0fedcba9876543210"
)

// service starts a Session Manager with two nodes whose port is at address.
func service(t testing.TB, cfg ssmtest.Config, address string) *awstest.Server {
	t.Helper()
	return serviceWith(t, awstest.Config{Config: cfg}, address)
}

// serviceWith is service where the account matters.
func serviceWith(t testing.TB, cfg awstest.Config, address string) *awstest.Server {
	srv := awstest.NewServer(cfg)
	t.Cleanup(func() {
		srv.Close()
		for _, s := range srv.Sessions() {
			if !s.Ended() {
				t.Errorf("session %s lingers in the account", s.ID())
			}
		}
	})
	for _, id := range []string{node1, node2} {
		srv.AddNode(awstest.Node{ID: id, Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}})
	}
	return srv
}

// environ is what processes get that use srv.
func environ(t testing.TB, srv *awstest.Server) []string {
	env := append(os.Environ(), srv.Env()...)
	env = append(env, "SSMPIPE_CACHE="+filepath.Join(t.TempDir(), "cache"))
	if pem := srv.CertPEM(); pem != nil {
		bundle := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(bundle, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, "AWS_CA_BUNDLE="+bundle)
	}
	return env
}

// sshRig is a real sshd behind a service, and an ssh configuration for it.
type sshRig struct {
	*awstest.Server
	dir    string // its home, and sshd's
	config string
	port   string // sshd's, on loopback
	env    []string
}

// fast is for transfers that are too large for the agent's pace.
var fast = ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}

func newSSHRig(t testing.TB, cfg ssmtest.Config) *sshRig {
	t.Helper()
	r := &sshRig{dir: t.TempDir()}
	r.port = startSSHD(t, r.dir)
	r.Server = service(t, cfg, "127.0.0.1:"+r.port)
	r.env = environ(t, r.Server)
	r.config = filepath.Join(r.dir, "config")
	writeFile(t, r.config, fmt.Sprintf(`
Host i-* mi-*
    ProxyCommand %s proxy --region us-east-1 %%h %%p
Host *
    User %s
    IdentityFile %s/id
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile %s/known_hosts
    LogLevel ERROR
    ControlPath none
`, ssmpipe, userName(), r.dir, r.dir))
	return r
}

func userName() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	out, _ := exec.Command("id", "-un").Output()
	return strings.TrimSpace(string(out))
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startSSHD runs a real sshd on loopback that takes the key in dir, unless
// settings say otherwise, and returns its port.
func startSSHD(t testing.TB, dir string, settings ...string) (port string) {
	t.Helper()
	sshd, keygen := need(t, "sshd"), need(t, "ssh-keygen")
	need(t, "ssh")
	for _, key := range []string{"host", "id"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // sshd's own, which Debian makes at boot
	}
	writeFile(t, filepath.Join(dir, "sshd_config"), strings.Join(settings, "\n")+fmt.Sprintf(`
HostKey %s/host
AuthorizedKeysFile %s/id.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
PrintMotd no
PrintLastLog no
SetEnv HOME=%s
Subsystem sftp internal-sftp
`, dir, dir, dir)) // a home of its own: no start-up file of the user's has a say
	for range 10 {
		address := freePort(t)
		cmd := exec.Command(sshd, "-D", "-e", "-o", "ListenAddress="+address, "-f", filepath.Join(dir, "sshd_config"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		log := bufio.NewReader(io.TeeReader(stderr, &logged))
		line, _ := log.ReadString('\n')
		read := make(chan struct{})
		go func() {
			io.Copy(io.Discard, log)
			close(read)
		}()
		t.Cleanup(func() {
			cmd.Process.Kill()
			select {
			case <-read:
			case <-time.After(margin): // a session's process still has it
			}
			cmd.Wait()
			if t.Failed() {
				t.Logf("sshd: %s", &logged)
			}
		})
		if strings.HasPrefix(line, "Server listening") { // else another test has taken the port meanwhile
			_, port, _ = net.SplitHostPort(address)
			return port
		}
	}
	t.Fatal("sshd found no port")
	return ""
}

// freePort returns an address for a server that cannot be told to choose one.
// It is none that the system would give to somebody else meanwhile.
func freePort(t testing.TB) (address string) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// margin is for what takes a moment by itself, on a machine with much else to do:
// who waits for the wrong thing waits longer.
const margin = 8 * time.Second

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("no %s after a minute\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// command prepares an OpenSSH tool with the rig's configuration.
func (r *sshRig) command(t testing.TB, tool string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(need(t, tool), append([]string{"-F", r.config}, args...)...)
	cmd.Env = r.env
	cmd.Dir = r.dir
	return cmd
}

// start starts a command that is killed with the test if it still runs then.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
}

// result is what a finished command has left.
type result struct {
	stdout []byte
	stderr string
	status int
}

func run(t testing.TB, cmd *exec.Cmd, stdin io.Reader) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	return finish(t, cmd, cmd.Run(), &stdout, &stderr)
}

func finish(t testing.TB, cmd *exec.Cmd, err error, stdout, stderr *bytes.Buffer) result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{stdout.Bytes(), besideSlowEnds(stderr.String()), cmd.ProcessState.ExitCode()}
}

// succeed runs a command that must succeed in silence on stderr, but for notices.
func succeed(t testing.TB, cmd *exec.Cmd, stdin io.Reader) []byte {
	t.Helper()
	r := run(t, cmd, stdin)
	if r.status != 0 || besideNotices(r.stderr) != "" {
		t.Errorf("%s: status %d, stderr %q", cmd, r.status, r.stderr)
	}
	return r.stdout
}

// random returns n bytes that are different for each seed.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s: %d bytes are not the %d that were sent", what, len(got), len(want))
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return b
}

// notice is a line about a connection that was lost for a while, or about what was
// lost with it.
var notice = regexp.MustCompile(`(?m)^ssmpipe: .*: (connection lost \(|connected again after |\d+ messages were lost on the way; ).*\n`)

// besideNotices returns what else is on stderr.
func besideNotices(stderr string) string {
	return notice.ReplaceAllString(besideSlowEnds(stderr), "")
}

// slowEnd is a line about an end that AWS has not confirmed in time, because this
// machine is too busy. That no session is left is looked at for itself.
var slowEnd = regexp.MustCompile(`(?m)^ssmpipe: .*: the session \S+ could not be ended \(.* deadline exceeded\).*\n`)

// besideSlowEnds returns what else is on stderr.
func besideSlowEnds(stderr string) string { return slowEnd.ReplaceAllString(stderr, "") }

// oldAgent carries one connection at a time.
var oldAgent = ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, Version: "3.0.100.0"}}

// awsConfig is what a program's own configuration may be.
func awsConfig(srv *awstest.Server) *aws.Config {
	key := func(name string) (value string) {
		for _, v := range srv.Env() {
			if v, ok := strings.CutPrefix(v, name+"="); ok {
				value = v
			}
		}
		return value
	}
	return &aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(srv.URL()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key("AWS_ACCESS_KEY_ID"), SecretAccessKey: key("AWS_SECRET_ACCESS_KEY")}, nil
		}),
	}
}
