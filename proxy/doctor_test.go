package proxy_test

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
	"github.com/ssmpipe/ssmpipe/proxy/machine"
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
	p.node = awstest.Node{ID: node1, Name: "web-1", Profile: "web", Node: ssmtest.Node{Dial: speaks("SSH-2.0-OpenSSH_9.9 test\r\n")}}
	p.AddNode(p.node)
	p.env = append(p.Env(), "HOME="+p.home, "XDG_CACHE_HOME="+p.home, "LANG=C.UTF-8", "PATH="+filepath.Join(p.home, "bin"))
	for name, path := range map[string]string{"ssmpipe": ssmpipe, "sh": "/bin/sh"} { // the SDK starts credential_process with sh
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
	result
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
	return b.String() + d.stderr
}

// see runs the doctor.
func (p *patient) see(t testing.TB, args ...string) (d diagnosis) {
	t.Helper()
	cmd := exec.Command(ssmpipe, append([]string{"doctor", "--json"}, args...)...)
	cmd.Env = p.env
	begun := time.Now()
	d.result = run(t, cmd, nil)
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	for lines := bufio.NewScanner(bytes.NewReader(d.stdout)); lines.Scan(); {
		var f doctor.Finding
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		d.findings = append(d.findings, f)
	}
	if n := p.ActiveSessions(); n > 0 {
		t.Errorf("%d sessions linger in the account", n)
	}
	return d
}

// TestDoctorHealthy: all is well, and said so, in the order of the way there.
func TestDoctorHealthy(t *testing.T) {
	t.Parallel()
	p := newPatient(t, awstest.Config{})
	d := p.see(t, "--push-key", "--user", "ops", "web-1")
	want := []string{"configuration", "credentials", "identity", "clock",
		"endpoint ssm", "endpoint ssmmessages", "endpoint ec2", "endpoint ec2-instance-connect",
		"permission ec2:DescribeInstances", "permission ssm:DescribeInstanceInformation", "permission ssm:GetDocument", "permission ssm:DescribeSessions",
		"target", "state", "instance profile", "agent", "agent version", "preferences", "permission ec2-instance-connect:SendSSHPublicKey",
		"session", "data channel", "handshake", "port 22", "permission ssm:ResumeSession", "permission ssm:TerminateSession",
		"ssh", "ssh config"}
	var got []string
	for _, f := range d.findings {
		got = append(got, f.Check)
		if f.Status != doctor.StatusOK || f.Detail == "" || f.Remedy != "" || f.Allow != nil {
			t.Errorf("%+v", f)
		}
	}
	if !slices.Equal(got, want) || d.status != 0 || d.stderr != "" {
		t.Errorf("status %d, %q, checked %q", d.status, d.stderr, got)
	}
	for check, fact := range map[string]string{
		"identity":      "account 123456789012",
		"target":        node1 + " (web-1, ",
		"handshake":     "agent 3.3.0.0",
		"port 22":       "SSH-2.0-OpenSSH_9.9 test, round trip ",
		"agent version": "3.3.0.0",
		"ssh config":    "user ops, port 22",
	} {
		if f := d.of(check); f == nil || !strings.Contains(f.Detail, fact) {
			t.Errorf("%s: %q is not in %+v", check, fact, f)
		}
	}
	if keys := p.PublicKeys(node1, "ops"); len(keys) != 1 {
		t.Errorf("%d keys were pushed", len(keys))
	}
	if s := p.Sessions(); len(s) != 1 || s[0].Resumes() != 1 || p.Calls("TerminateSession") != 1 {
		t.Errorf("%d sessions, %d terminated", len(s), p.Calls("TerminateSession"))
	}
}

// TestDoctorWithoutTarget checks what concerns all machines, and starts
// nothing.
func TestDoctorWithoutTarget(t *testing.T) {
	t.Parallel()
	p := newPatient(t, awstest.Config{})
	p.ssh(t, "host i-0123456789abcdef0\n")
	d := p.see(t)
	if d.status != 0 || d.of("endpoint ec2") == nil || d.of("preferences") == nil || d.of("session") != nil || len(p.Sessions()) > 0 {
		t.Errorf("status %d, %s", d.status, d)
	}
	if f := d.of("ssh config"); f == nil || f.Status != doctor.StatusWarning {
		t.Errorf("%+v", f) // not everybody uses ssh
	}
	if p.see(t, "web-1"); p.Calls("SendSSHPublicKey") > 0 {
		t.Error("a key was pushed that nobody asked for")
	}
}

// TestDoctorPreferences: they are read, and the way to KMS is gone only if they
// name a key.
func TestDoctorPreferences(t *testing.T) {
	t.Parallel()
	const document = `{"sessionType": "Standard_Stream", "inputs": {"kmsKeyId": "%s", "idleSessionTimeout": "35"}}`
	for _, tt := range []struct {
		key    string
		status doctor.Status
		detail string
	}{{"", doctor.StatusOK, "no KMS key"}, {"alias/ours", doctor.StatusWarning, "KMS key alias/ours, for shells"}} {
		p := newPatient(t, awstest.Config{Preferences: fmt.Sprintf(document, tt.key)})
		p.env = append(p.env, "AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1")
		d := p.see(t)
		f := d.of("preferences")
		if f == nil || f.Status != tt.status || !strings.Contains(f.Detail, "35 min idle") || !strings.Contains(f.Detail, tt.detail) ||
			strings.Contains(f.Detail, "127.0.0.1:1") != (tt.key != "") {
			t.Errorf("%+v\n%s", f, d)
		}
	}
}

// TestDoctorElsewhere: a managed node that EC2 knows nothing of.
func TestDoctorElsewhere(t *testing.T) {
	t.Parallel()
	p := newPatient(t, awstest.Config{})
	p.AddNode(awstest.Node{ID: "mi-0123456789abcdef0", Name: "office", Node: ssmtest.Node{Dial: speaks("SSH-2.0-x\r\n")}})
	d := p.see(t, "--push-key", "--user", "ops", "office")
	for _, check := range []string{"state", "instance profile", "permission ec2-instance-connect:SendSSHPublicKey"} {
		if f := d.of(check); f == nil || f.Status != doctor.StatusSkipped {
			t.Errorf("%+v", f)
		}
	}
	if f := d.of("port 22"); d.status != 0 || f == nil || f.Status != doctor.StatusOK {
		t.Errorf("status %d\n%s", d.status, d)
	}
}

// TestDoctor provokes what can go wrong, and looks for the remedy.
func TestDoctor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		provoke func(t *testing.T, p *patient)
		args    []string // "" means web-1
		check   string
		status  doctor.Status
		detail  string
		remedy  string
		exit    int
	}{
		{"no credentials", func(_ *testing.T, p *patient) {
			p.unset("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
		}, nil, "credentials", doctor.StatusFailed, "", `"aws sso login"`, 1},
		{"SSO expired", func(t *testing.T, p *patient) {
			p.profile(t, "[profile prod]\nregion = us-east-1\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example\n")
		}, []string{"--profile", "prod", "web-1"}, "credentials", doctor.StatusFailed, "", `"aws sso login --profile prod"`, 1},
		{"SSO expired, as it was written before", func(t *testing.T, p *patient) {
			p.profile(t, "[profile my prod]\nregion = us-east-1\nsso_account_id = 1\nsso_role_name = r\nsso_region = us-east-1\nsso_start_url = https://corp.example\n")
		}, []string{"--profile", "my prod", "web-1"}, "credentials", doctor.StatusFailed, "SSO", `"aws sso login --profile 'my prod'"`, 1},
		{"credential_process fails", func(t *testing.T, p *patient) {
			p.profile(t, "[profile vault]\nregion = us-east-1\ncredential_process = /bin/false --role x\n")
		}, []string{"--profile", "vault", "web-1"}, "credentials", doctor.StatusFailed, "exit status 1", "by hand and see what it says", 1},
		{"MFA without a terminal", func(t *testing.T, p *patient) {
			p.profile(t, "[profile mfa]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/r\nmfa_serial = arn:aws:iam::123456789012:mfa/me\nsource_profile = me\n[profile me]\naws_access_key_id = A\naws_secret_access_key = B\n")
		}, []string{"--profile", "mfa", "web-1"}, "credentials", doctor.StatusFailed, "MFA", "--profile mfa", 1},
		{"the secret key is wrong", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_SECRET_ACCESS_KEY=wrong")
		}, nil, "identity", doctor.StatusFailed, "", "AWS_SECRET_ACCESS_KEY", 1},
		{"HTTPS_PROXY is not a URL", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL=https://nothing.invalid", "HTTPS_PROXY=http://me:se%cret@proxy.example:3128")
		}, nil, "endpoint ssm", doctor.StatusFailed, "DNS: ", "HTTPS_PROXY is not a URL, and has no effect: it is written as http://NAME:PASSWORD@HOST:PORT, special characters as %XX", 1},
		{"no such profile", func(t *testing.T, p *patient) { p.profile(t, "[profile good]\nregion = us-east-1\n") }, []string{"--profile", "nobody", "web-1"},
			"configuration", doctor.StatusFailed, `no profile "nobody"`, "there is good", 1},
		{"no region", func(_ *testing.T, p *patient) { p.unset("AWS_REGION") }, nil,
			"configuration", doctor.StatusFailed, "no region", "AWS_REGION", 1},
		{"a zone in place of the region", nil, []string{"--region", "us-east-1a", "web-1"},
			"configuration", doctor.StatusFailed, "from --region", "its region is us-east-1", 1},
		{"no region is written so", nil, []string{"--region", "virginia", "web-1"},
			"configuration", doctor.StatusFailed, "virginia", "written as eu-central-1", 1},
		{"the clock is wrong", func(_ *testing.T, p *patient) { p.SetClock(20 * time.Minute) }, nil,
			"clock", doctor.StatusFailed, "19 min behind", "NTP", 1},
		{"the clock is not quite right", func(_ *testing.T, p *patient) { p.SetClock(-2*time.Minute - 30*time.Second) }, nil,
			"clock", doctor.StatusWarning, "2 min ahead", "NTP", 0},

		{"ssm is dead", func(_ *testing.T, p *patient) { p.env = append(p.env, "AWS_ENDPOINT_URL_SSM=http://127.0.0.1:1") }, nil,
			"endpoint ssm", doctor.StatusFailed, "TCP: ", "security group", 1},
		{"ssmmessages is dead", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL_SSMMESSAGES=http://127.0.0.1:1")
		}, nil,
			"endpoint ssmmessages", doctor.StatusFailed, "TCP: ", "com.amazonaws.us-east-1.ssmmessages", 1},
		{"ec2 is dead", func(_ *testing.T, p *patient) { p.env = append(p.env, "AWS_ENDPOINT_URL_EC2=http://127.0.0.1:1") }, []string{node1},
			"endpoint ec2", doctor.StatusWarning, "TCP: ", "without it machines have no names", 0},
		{"ssm does not resolve", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL_SSM=https://nothing.invalid")
		}, nil, "endpoint ssm", doctor.StatusFailed, "nothing.invalid: DNS: ", "private DNS names", 1},
		{"what answers does not speak TLS", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL_SSM="+strings.Replace(p.URL(), "http:", "https:", 1))
		}, nil, "endpoint ssm", doctor.StatusFailed, "TLS: ", "captive portal", 1},

		{"ec2:DescribeInstances is denied", deny("ec2:DescribeInstances"), []string{node1},
			"permission ec2:DescribeInstances", doctor.StatusWarning, "UnauthorizedOperation", "names, addresses and states", 0},
		{"ssm:DescribeInstanceInformation is denied", deny("ssm:DescribeInstanceInformation"), nil,
			"permission ssm:DescribeInstanceInformation", doctor.StatusWarning, "AccessDenied", "what the agents say", 0},
		{"both are denied, and the target is a name", deny("ec2:DescribeInstances", "ssm:DescribeInstanceInformation"), nil,
			"target", doctor.StatusFailed, "", "ask for the IAM permission", 1},
		{"both are denied, and the target is an id", deny("ec2:DescribeInstances", "ssm:DescribeInstanceInformation"), []string{node1},
			"target", doctor.StatusWarning, "nothing is known", "permissions above", 0},
		{"ssm:GetDocument is denied", deny("ssm:GetDocument"), nil,
			"permission ssm:GetDocument", doctor.StatusWarning, "AccessDenied", "preferences", 0},
		{"ssm:DescribeSessions is denied", deny("ssm:DescribeSessions"), nil,
			"permission ssm:DescribeSessions", doctor.StatusWarning, "AccessDenied", "ssmpipe sessions", 0},
		{"ssm:StartSession is denied", deny("ssm:StartSession"), nil,
			"session", doctor.StatusFailed, "AccessDenied", "ask for ssm:StartSession", 1},
		{"the document is denied", func(_ *testing.T, p *patient) { p.Deny("AWS-StartSSHSession") }, nil,
			"session", doctor.StatusFailed, "AWS-StartSSHSession", "ask for ssm:StartSession", 1},
		{"ssmmessages:OpenDataChannel is denied", func(_ *testing.T, p *patient) { p.OnUpgrade(func(int) int { return 403 }) }, nil,
			"data channel", doctor.StatusFailed, "403", "ask for ssmmessages:OpenDataChannel", 1},
		{"ssm:ResumeSession is denied", deny("ssm:ResumeSession"), nil,
			"permission ssm:ResumeSession", doctor.StatusFailed, "AccessDenied", "once an hour", 1},
		{"ssm:TerminateSession is denied", deny("ssm:TerminateSession"), nil,
			"permission ssm:TerminateSession", doctor.StatusWarning, "AccessDenied", "no session behind", 0},
		{"keys cannot be pushed", deny("ec2-instance-connect:SendSSHPublicKey"), []string{"--push-key", "--user", "ops", "web-1"},
			"permission ec2-instance-connect:SendSSHPublicKey", doctor.StatusFailed, "AccessDenied", "--push-key", 1},

		{"no such machine", nil, []string{"web-2"}, "target", doctor.StatusFailed, "no such machine", "did you mean web-1?", 1},
		{"in another region", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Region = "us-west-2" }) }, nil,
			"target", doctor.StatusFailed, "no such machine in us-east-1", "--profile and --region choose", 1},
		{"the region is in the name", nil, []string{"web-1--us-west-2"},
			"configuration", doctor.StatusOK, "us-west-2 (from the target)", "", 1},
		{"several", func(_ *testing.T, p *patient) {
			p.AddNode(awstest.Node{ID: node2, Name: "web-1"})
		}, nil, "target", doctor.StatusFailed, node2, "--pick newest", 1},
		{"stopped", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.State = "stopped" }) }, nil,
			"state", doctor.StatusFailed, "stopped", "start-instances --region us-east-1 --instance-ids " + node1, 1},
		{"stopped, and may not be started", func(t *testing.T, p *patient) {
			deny("ec2:StartInstances")(t, p)
			p.change(func(n *awstest.Node) { n.State = "stopped" })
		}, nil, "permission ec2:StartInstances", doctor.StatusWarning, "Unauthorized", "--start", 1},
		{"stopped, and may be started", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.State = "stopped" }) }, nil,
			"permission ec2:StartInstances", doctor.StatusOK, "allowed", "", 1},
		{"no instance profile", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Profile, n.NeverCalled = awstest.None, true })
		}, nil, "instance profile", doctor.StatusFailed, "none", "AmazonSSMManagedInstanceCore", 1},
		{"the agent has never called in", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.NeverCalled = true }) }, nil,
			"agent", doctor.StatusFailed, "never called in", "systemctl status amazon-ssm-agent", 1},
		{"the agent is lost", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.NotConnected, n.Pinged = true, time.Now().Add(-3*time.Hour) })
		}, nil, "agent", doctor.StatusFailed, "3 h ago", "systemctl restart amazon-ssm-agent", 1},
		{"the agent does not answer", func(_ *testing.T, p *patient) { p.StallAgent(true) }, nil,
			"handshake", doctor.StatusFailed, "no answer in time", "update the SSM agent", 1},
		{"the agent is old", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Agent = &ssmtest.Agent{Version: "3.0.100.0"} })
		}, nil, "agent version", doctor.StatusWarning, "--via, and forwards to hosts behind it (3.1.1374.0)", "AWS-UpdateSSMAgent --instance-ids " + node1, 0},
		{"the agent is from before ssh", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Agent = &ssmtest.Agent{Version: "2.3.612.0"} })
		}, nil, "agent version", doctor.StatusFailed, "ssh and port forwarding (2.3.672.0)", "AWS-UpdateSSMAgent", 1},

		{"nothing listens", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) {
				n.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrNotExist }
			})
		}, []string{"web-1", "2222"}, "port 2222", doctor.StatusFailed, "could not connect", "listens on port 2222", 1},
		{"nothing answers", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) {
				n.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
			})
		}, nil, "port 22", doctor.StatusFailed, "so far", "listens on port 22", 1},
		{"sshd is silent", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = speaks("") }) }, nil,
			"port 22", doctor.StatusWarning, "says nothing", "not how sshd behaves", 0},
		{"a web server is silent", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = speaks("") }) }, []string{"web-1", "80"},
			"port 80", doctor.StatusOK, "says nothing by itself, round trip", "", 0},
		{"not sshd", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = speaks("220 mail\r\n") }) }, nil,
			"port 22", doctor.StatusWarning, "220 mail", "not how sshd behaves", 0},
		{"sshd has had enough", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Dial = says("Exceeded MaxStartups\r\n") })
		}, nil, "port 22", doctor.StatusWarning, `says "Exceeded MaxStartups"`, "how busy it is", 0},
		{"sshd hangs up", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = says("") }) }, nil,
			"port 22", doctor.StatusFailed, "hung up", "see its log", 1},
		{"sshd greets first", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Dial = speaks("hello\nagain\nSSH-2.0-x y\r\n") })
		}, nil, "port 22", doctor.StatusOK, "SSH-2.0-x y, round", "", 0},

		{"no ssh", func(t *testing.T, p *patient) { os.Remove(p.tool(t, "ssh")) }, nil,
			"ssh", doctor.StatusFailed, "no ssh in PATH", "install OpenSSH", 1},
		{"ssh hangs", func(t *testing.T, p *patient) {
			os.WriteFile(p.tool(t, "ssh"), []byte("#!/bin/sh\nwhile :; do :; done\n"), 0o755)
		}, nil, "ssh", doctor.StatusWarning, "no end within 5s", "", 1},
		{"an ancient ssh", func(t *testing.T, p *patient) {
			os.WriteFile(p.tool(t, "ssh"), []byte("#!/bin/sh\necho OpenSSH_7.2p2 >&2\necho 'proxycommand ssmpipe x'\n"), 0o755)
		}, nil, "ssh", doctor.StatusWarning, "OpenSSH_7.2p2", "needs Include", 0},
		{"not in the configuration", func(t *testing.T, p *patient) { p.ssh(t, "host web-1\nproxycommand none\n") }, nil,
			"ssh config", doctor.StatusFailed, "does not go through ssmpipe", `"ssmpipe ssh-config --install --hosts"`, 1},
		{"not in the configuration, by id", func(t *testing.T, p *patient) { p.ssh(t, "proxycommand none\n") }, []string{node1},
			"ssh config", doctor.StatusFailed, "does not go through ssmpipe", `"ssmpipe ssh-config --install"`, 1},
		{"another client in the configuration", func(t *testing.T, p *patient) {
			p.ssh(t, "host web-1\nproxycommand sh -c \"aws ssm start-session --target %h\"\n")
		}, nil, "ssh config", doctor.StatusFailed, "aws ssm start-session", "ssmpipe ssh-config --install", 1},
		{"the configuration calls what has gone", func(t *testing.T, p *patient) {
			p.ssh(t, "host web-1\nproxycommand /nowhere/ssmpipe proxy web-1 22\n")
		}, nil, "ssh config", doctor.StatusFailed, "/nowhere/ssmpipe, which is not there", "again", 1},
		{"ssh lets the session end", func(t *testing.T, p *patient) {
			p.ssh(t, "host web-1\nserveraliveinterval 0\nproxycommand ssmpipe proxy web-1 22\n")
		}, nil, "ssh config", doctor.StatusWarning, "idle", "ServerAliveInterval 60", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, awstest.Config{})
			if tt.provoke != nil {
				tt.provoke(t, p)
			}
			args := tt.args
			if args == nil {
				args = []string{"web-1"}
			}
			d := p.see(t, args...)
			f := d.of(tt.check)
			if f == nil || f.Status != tt.status || !strings.Contains(f.Detail, tt.detail) || !strings.Contains(f.Remedy, tt.remedy) || (tt.remedy == "") != (f.Remedy == "") {
				t.Errorf("%+v", f)
			}
			if d.status != tt.exit {
				t.Errorf("status %d", d.status)
			}
			if t.Failed() {
				t.Log(d)
			}
		})
	}
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
	writeFile(t, name, text)
	p.unset("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
	p.env = append(p.env, "AWS_CONFIG_FILE="+name)
}

// TestDoctorAllows: a missing permission comes with the statement to paste.
func TestDoctorAllows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		action, check string
		resource      []string
	}{
		{"ec2:DescribeInstances", "permission ec2:DescribeInstances", []string{"*"}},
		{"ssm:GetDocument", "permission ssm:GetDocument", []string{"arn:aws:ssm:us-east-1:123456789012:document/SSM-SessionManagerRunShell"}},
		{"ssm:StartSession", "session", []string{"arn:aws:ec2:us-east-1:123456789012:instance/" + node1, "arn:aws:ssm:us-east-1::document/AWS-StartSSHSession"}},
		{"ssm:ResumeSession", "permission ssm:ResumeSession", []string{"arn:aws:ssm:*:*:session/${aws:userid}-*"}},
	} {
		p := newPatient(t, awstest.Config{})
		p.DenyActions(tt.action)
		d := p.see(t, node1)
		f := d.of(tt.check)
		if f == nil || f.Allow == nil || f.Allow.Effect != "Allow" || f.Allow.Action != tt.action || !slices.Equal(f.Allow.Resource, tt.resource) {
			t.Errorf("%s: %+v\n%s", tt.action, f, d)
		}
	}
}

// TestDoctorTLS: a certificate of nobody's that is known, and what proxies
// refuse, is told by name.
func TestDoctorTLS(t *testing.T) {
	t.Parallel()
	p := newPatient(t, awstest.Config{Config: ssmtest.Config{TLS: true}})
	before := p.env
	for _, slow := range []bool{false, true} {
		if slow { // so that a connection is opened beside the credentials
			stranger := newPatient(t, awstest.Config{Config: ssmtest.Config{TLS: true}})
			writeFile(t, filepath.Join(p.home, "others.pem"), string(stranger.CertPEM()))
			p.env = append(p.env, "AWS_CA_BUNDLE="+filepath.Join(p.home, "others.pem"))
			p.profile(t, "[default]\nregion = us-east-1\ncredential_process = /bin/sleep 0.1 && echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"B\"}'\n")
		}
		if f := p.see(t, "web-1").of("endpoint ssm"); f == nil || f.Status != doctor.StatusFailed || !strings.Contains(f.Detail, ": TLS: ") ||
			!strings.Contains(f.Detail, "issued by CN=ssmtest") || !strings.Contains(f.Remedy, "AWS_CA_BUNDLE") {
			t.Errorf("%+v", f)
		}
	}
	p.env = before
	bundle := filepath.Join(p.home, "ca.pem")
	writeFile(t, bundle, string(p.CertPEM()))
	p.env = append(p.env, "AWS_CA_BUNDLE="+bundle)
	if d := p.see(t, "web-1"); d.status != 0 {
		t.Error(d)
	}
	address, _ := startHTTPProxy(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.URL(), "https://"))
	p.env = append(p.env, "AWS_ENDPOINT_URL=https://ssmtest.invalid:"+port, "AWS_MAX_ATTEMPTS=1")
	for _, tt := range []struct {
		proxy, detail, remedy string
		status                doctor.Status
	}{
		{"http://me:s%25cret@" + address, "ssmtest.invalid:" + port + " through the proxy http://" + address + " answers", "", doctor.StatusOK},
		{"http://me:wrong@" + address, "proxy: CONNECT: 407 Proxy Authentication Required", "NAME:PASSWORD", doctor.StatusFailed},
		{"http://127.0.0.1:1", "TCP: ", "HTTPS_PROXY names 127.0.0.1:1", doctor.StatusFailed},
	} {
		before := p.env
		p.env = append(p.env, "HTTPS_PROXY="+tt.proxy)
		d := p.see(t, "web-1")
		p.env = before
		if f := d.of("endpoint ssm"); f == nil || f.Status != tt.status || !strings.Contains(f.Detail, tt.detail) || !strings.Contains(f.Remedy, tt.remedy) {
			t.Errorf("%s: %+v\n%s", tt.proxy, f, d)
		}
		if strings.Contains(d.String(), "wrong") || strings.Contains(d.String(), "s%25cret") {
			t.Errorf("the proxy's password is in %s", d)
		}
	}
}

// TestDoctorHostile: what others write commands no terminal, as text or JSON.
func TestDoctorHostile(t *testing.T) {
	t.Parallel()
	const evil = "x\x1b]0;pwned\a\x1b[2J\u009b31m\r\n\u202e"
	p := newPatient(t, awstest.Config{})
	p.change(func(n *awstest.Node) {
		n.Name, n.Platform, n.Computer = evil, evil, evil
		n.Dial = speaks("SSH-2.0-" + evil + "\r\n")
	})
	p.AddNode(awstest.Node{ID: node2, Name: evil, Tags: map[string]string{"a": "b"}})
	p.AddNode(awstest.Node{ID: "i-0aaaaaaaaaaaaaaaa", Name: evil, Tags: map[string]string{"a": "b"}})
	for _, args := range [][]string{{node1}, {"tag:a=b"}, {"x"}, {"--json", node1}, {"--json", "tag:a=b"}} {
		cmd := exec.Command(ssmpipe, append([]string{"doctor"}, args...)...)
		cmd.Env = p.env
		r := run(t, cmd, nil)
		if i := strings.IndexFunc(strings.ReplaceAll(string(r.stdout), "\n", ""), func(c rune) bool {
			return c < ' ' || c >= 0x7f && c <= 0x9f || c == '\u202e'
		}); i >= 0 || len(r.stdout) == 0 {
			t.Errorf("%q: %q", args, r.stdout)
		}
		if strings.Contains(string(r.stdout), `\u001b`) {
			t.Errorf("%q: %q", args, r.stdout)
		}
	}
}

// TestDoctorLeavesNothing: neither goroutines nor sessions, also when it is
// interrupted while it waits for the port.
func TestDoctorLeavesNothing(t *testing.T) {
	p := newPatient(t, awstest.Config{})
	p.change(func(n *awstest.Node) { n.Dial = speaks("") })
	for _, v := range p.env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	before := runtime.NumGoroutine()
	for _, interrupted := range []bool{false, true} {
		begun := time.Now()
		ctx, stop := context.WithCancel(context.Background())
		var last string
		_, err := doctor.Run(ctx, doctor.Options{Options: machine.Options{Target: "web-1"}}, func(f doctor.Finding) {
			if last = f.Check; interrupted && last == "handshake" {
				time.AfterFunc(50*time.Millisecond, stop)
			}
		})
		stop()
		if took := time.Since(begun); interrupted && took > 2*time.Second+margin {
			t.Errorf("it ended after %v", took)
		}
		if interrupted != (err != nil) || interrupted != (last == "handshake") {
			t.Errorf("it ended behind %q with %v", last, err)
		}
		if n := p.ActiveSessions(); n > 0 || len(p.Sessions()) == 0 {
			t.Errorf("%d sessions linger in the account", n)
		}
	}
	p.Close() // and with it the connections that the SDK keeps
	waitFor(t, "end of the goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

// TestDoctorUsage: wrong usage is no finding.
func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{""}, {"ecs:x"}, {"web-1", "no such port"}, {"web-1", "22", "23"}, {"--push-key", "web-1"}, {"--push-key", "--user", "ops"}} {
		cmd := exec.Command(ssmpipe, append([]string{"doctor"}, args...)...)
		r := run(t, cmd, nil)
		if r.status != 2 || len(r.stdout) > 0 || r.stderr == "" {
			t.Errorf("%q: status %d, %q, %q", args, r.status, r.stdout, r.stderr)
		}
	}
}
