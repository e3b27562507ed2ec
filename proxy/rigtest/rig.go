package rigtest

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

// Need returns a tool's path. Where it is missing the test is skipped, but not
// in CI.
func Need(t testing.TB, tool string) string {
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
	Node1 = "i-0123456789abcdef0"
	Node2 = "i-0fedcba9876543210"
)

// Service starts a Session Manager with two nodes whose port is at address.
func Service(t testing.TB, cfg ssmtest.Config, address string) *awstest.Server {
	t.Helper()
	return ServiceWith(t, awstest.Config{Config: cfg}, address)
}

// ServiceWith is Service where the account matters.
func ServiceWith(t testing.TB, cfg awstest.Config, address string) *awstest.Server {
	srv := awstest.NewServer(cfg)
	t.Cleanup(func() {
		NoSessions(t, srv)
		srv.Close()
	})
	for _, id := range []string{Node1, Node2} {
		srv.AddNode(awstest.Node{ID: id, Node: ssmtest.Node{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}}})
	}
	return srv
}

// Environ is what processes get that use srv.
func Environ(t testing.TB, srv *awstest.Server) []string {
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

// SSH is a real sshd behind a service, and an ssh configuration for it.
type SSH struct {
	*awstest.Server
	Dir     string // its home, and sshd's
	Config  string
	Port    string // sshd's, on loopback
	Environ []string
}

// Fast is for transfers that are too large for the agent's pace.
var Fast = ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true}}

// NewSSH starts sshd and the service, and writes the configuration.
func NewSSH(t testing.TB, cfg ssmtest.Config) *SSH {
	t.Helper()
	r := &SSH{Dir: t.TempDir()}
	r.Port = StartSSHD(t, r.Dir)
	r.Server = Service(t, cfg, "127.0.0.1:"+r.Port)
	r.Environ = Environ(t, r.Server)
	r.Config = filepath.Join(r.Dir, "config")
	WriteFile(t, r.Config, fmt.Sprintf(`
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
`, SSMPipe, UserName(), r.Dir, r.Dir))
	return r
}

// UserName is who runs the tests.
func UserName() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	out, _ := exec.Command("id", "-un").Output()
	return strings.TrimSpace(string(out))
}

// WriteFile writes a file that only the user reads.
func WriteFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// StartSSHD runs a real sshd on loopback that takes the key in dir, unless
// settings say otherwise, and returns its port.
func StartSSHD(t testing.TB, dir string, settings ...string) (port string) {
	t.Helper()
	sshd, keygen := Need(t, "sshd"), Need(t, "ssh-keygen")
	Need(t, "ssh")
	for _, key := range []string{"host", "id"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // sshd's own, which Debian makes at boot
	}
	WriteFile(t, filepath.Join(dir, "sshd_config"), strings.Join(settings, "\n")+fmt.Sprintf(`
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
		address := FreePort(t)
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
			case <-time.After(Margin): // a session's process still has it
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

// FreePort returns an address for a server that cannot be told to choose one.
// It is none that the system would give to somebody else meanwhile.
func FreePort(t testing.TB) (address string) {
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

// Margin is for what takes a moment by itself, on a machine with much else to do:
// who waits for the wrong thing waits longer.
const Margin = 8 * time.Second

// WaitFor waits until ok, for a minute.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("no %s after a minute\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// NoSessions checks that no session is left in the account. The last may still
// be on its way out: a client waits for that, but on a busy machine not as long
// as it may take.
func NoSessions(t testing.TB, srv interface{ ActiveSessions() int }) {
	t.Helper()
	for end := time.Now().Add(Margin); srv.ActiveSessions() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d sessions linger in the account", srv.ActiveSessions())
			return
		}
	}
}

// Command prepares an OpenSSH tool with the rig's configuration.
func (r *SSH) Command(t testing.TB, tool string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Need(t, tool), append([]string{"-F", r.Config}, args...)...)
	cmd.Env = r.Environ
	cmd.Dir = r.Dir
	return cmd
}

// Start starts a command that is killed with the test if it still runs then.
func Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
}

// Result is what a finished command has left.
type Result struct {
	Stdout []byte
	Stderr string
	Status int
}

// Run runs a command to its end, whatever that is.
func Run(t testing.TB, cmd *exec.Cmd, stdin io.Reader) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	return finish(t, cmd, cmd.Run(), &stdout, &stderr)
}

func finish(t testing.TB, cmd *exec.Cmd, err error, stdout, stderr *bytes.Buffer) Result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return Result{stdout.Bytes(), BesideSlowEnds(stderr.String()), cmd.ProcessState.ExitCode()}
}

// Succeed runs a command that must succeed in silence on stderr, but for notices.
func Succeed(t testing.TB, cmd *exec.Cmd, stdin io.Reader) []byte {
	t.Helper()
	r := Run(t, cmd, stdin)
	if r.Status != 0 || BesideNotices(r.Stderr) != "" {
		t.Errorf("%s: status %d, stderr %q", cmd, r.Status, r.Stderr)
	}
	return r.Stdout
}

// Random returns n bytes that are different for each seed.
func Random(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// Equal wants to have got what was sent.
func Equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s: %d bytes are not the %d that were sent", what, len(got), len(want))
	}
}

// ReadFile returns what is in a file that must be there.
func ReadFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return b
}

// notice is a line about a connection that was lost for a while, or about what was
// lost with it.
var notice = regexp.MustCompile(`(?m)^ssmpipe: .*: (connection lost \(|reconnected after |\d+ messages were lost in transit; ).*\n`)

// BesideNotices returns what else is on stderr.
func BesideNotices(stderr string) string {
	return notice.ReplaceAllString(BesideSlowEnds(stderr), "")
}

// slowEnd is a line about an end that AWS has not confirmed in time, because this
// machine is too busy. That no session is left is looked at for itself.
var slowEnd = regexp.MustCompile(`(?m)^ssmpipe: .*: could not end the session \S+ \(.* deadline exceeded\).*\n`)

// BesideSlowEnds returns what else is on stderr.
func BesideSlowEnds(stderr string) string { return slowEnd.ReplaceAllString(stderr, "") }

// OldAgent carries one connection at a time.
var OldAgent = ssmtest.Config{Agent: ssmtest.Agent{NoSleep: true, Version: "3.0.100.0"}}

// AWSConfig is what a program's own configuration may be.
func AWSConfig(srv *awstest.Server) *aws.Config {
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
