package doctor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// patient is a machine called web-1, with all that leads to it, for the doctor
// to look at.
type patient struct {
	*awstest.Server
	node awstest.Node
	env  []string
	home string // with a bin for what the doctor calls
}

// goodSSH is what an ssh that is set up well prints of its configuration.
const goodSSH = "host web-1\nuser ops\nport 22\nserveraliveinterval 60\nproxycommand ssmpipe proxy web-1 22\n"

func newPatient(t testing.TB, cfg awstest.Config) *patient {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("ssh is a script here")
	}
	cfg.Regions = []string{"us-west-2"}
	p := &patient{Server: awstest.NewServer(cfg), home: t.TempDir()}
	t.Cleanup(p.Close)
	p.node = awstest.Node{ID: rigtest.Node1, Name: "web-1", Profile: "web", Node: ssmtest.Node{Dial: speaks("SSH-2.0-OpenSSH_9.9 test\r\n")}}
	p.AddNode(p.node)
	p.env = append(p.Env(), "HOME="+p.home, "XDG_CACHE_HOME="+p.home, "LANG=C.UTF-8", "PATH="+filepath.Join(p.home, "bin"))
	for name, path := range map[string]string{"ssmpipe": rigtest.SSMPipe, "sh": "/bin/sh"} { // the SDK starts credential_process with sh
		if err := os.Symlink(path, p.tool(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	p.ssh(t, goodSSH)
	return p
}

// tool returns the path of a program that the doctor will find.
func (p *patient) tool(t testing.TB, name string) string {
	bin := filepath.Join(p.home, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, name)
}

// ssh makes an ssh that has this configuration.
func (p *patient) ssh(t testing.TB, config string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in\n-V) echo 'OpenSSH_9.9p1, OpenSSL 3' >&2;;\n*) echo '%s';;\nesac\n", config)
	if err := os.WriteFile(p.tool(t, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// change changes the machine.
func (p *patient) change(f func(*awstest.Node)) {
	f(&p.node)
	p.AddNode(p.node)
}

// speaks is a port where something listens that says this, and no more.
func speaks(text string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			fmt.Fprint(far, text)
			buf := make([]byte, 100)
			for {
				if _, err := far.Read(buf); err != nil {
					return
				}
			}
		}()
		return near, nil
	}
}

// diagnosis is what a run of the doctor has left.
type diagnosis struct {
	findings []doctor.Finding
	rigtest.Result
}

func (d diagnosis) of(check string) *doctor.Finding {
	i := slices.IndexFunc(d.findings, func(f doctor.Finding) bool { return f.Check == check })
	if i < 0 {
		return nil
	}
	return &d.findings[i]
}

func (d diagnosis) String() string {
	var b strings.Builder
	for _, f := range d.findings {
		doctor.Printer(&b, doctor.Style{})(f)
	}
	return b.String() + d.Stderr
}

// see runs the doctor.
func (p *patient) see(t testing.TB, args ...string) (d diagnosis) {
	t.Helper()
	cmd := exec.Command(rigtest.SSMPipe, append([]string{"doctor", "--json"}, args...)...)
	cmd.Env = p.env
	begun := time.Now()
	d.Result = rigtest.Run(t, cmd, nil)
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	for lines := bufio.NewScanner(bytes.NewReader(d.Stdout)); lines.Scan(); {
		var f doctor.Finding
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		d.findings = append(d.findings, f)
	}
	rigtest.NoSessions(t, p)
	return d
}

// deny denies actions.
func deny(actions ...string) func(*testing.T, *patient) {
	return func(_ *testing.T, p *patient) { p.DenyActions(actions...) }
}

// unset takes variables out of the environment.
func (p *patient) unset(names ...string) {
	p.env = slices.DeleteFunc(slices.Clone(p.env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(names, name)
	})
}

// profile makes text the configuration, and leaves no other credentials.
func (p *patient) profile(t testing.TB, text string) {
	name := filepath.Join(p.home, "config")
	rigtest.WriteFile(t, name, text)
	p.unset("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
	p.env = append(p.env, "AWS_CONFIG_FILE="+name)
}
