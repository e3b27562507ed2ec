package doctor_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestDoctorWithoutTarget checks what concerns all machines, and starts
// nothing.
func TestDoctorWithoutTarget(t *testing.T) {
	t.Parallel()
	p := newPatient(t, awstest.Config{})
	p.ssh(t, "host i-0123456789abcdef0\n")
	d := p.see(t)
	if d.Status != 0 || d.of("endpoint ec2") == nil || d.of("preferences") == nil || d.of("session") != nil || len(p.Sessions()) > 0 {
		t.Errorf("status %d, %s", d.Status, d)
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
	if f := d.of("port 22"); d.Status != 0 || f == nil || f.Status != doctor.StatusOK {
		t.Errorf("status %d\n%s", d.Status, d)
	}
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
		{"ssm:StartSession", "session", []string{"arn:aws:ec2:us-east-1:123456789012:instance/" + rigtest.Node1, "arn:aws:ssm:us-east-1::document/AWS-StartSSHSession"}},
		{"ssm:ResumeSession", "permission ssm:ResumeSession", []string{"arn:aws:ssm:*:*:session/${aws:userid}-*"}},
	} {
		p := newPatient(t, awstest.Config{})
		p.DenyActions(tt.action)
		d := p.see(t, rigtest.Node1)
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
			rigtest.WriteFile(t, filepath.Join(p.home, "others.pem"), string(stranger.CertPEM()))
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
	rigtest.WriteFile(t, bundle, string(p.CertPEM()))
	p.env = append(p.env, "AWS_CA_BUNDLE="+bundle)
	if d := p.see(t, "web-1"); d.Status != 0 {
		t.Error(d)
	}
	address, _ := rigtest.StartHTTPProxy(t)
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
	p.AddNode(awstest.Node{ID: rigtest.Node2, Name: evil, Tags: map[string]string{"a": "b"}})
	p.AddNode(awstest.Node{ID: "i-0aaaaaaaaaaaaaaaa", Name: evil, Tags: map[string]string{"a": "b"}})
	for _, args := range [][]string{{rigtest.Node1}, {"tag:a=b"}, {"x"}, {"--json", rigtest.Node1}, {"--json", "tag:a=b"}} {
		cmd := exec.Command(rigtest.SSMPipe, append([]string{"doctor"}, args...)...)
		cmd.Env = p.env
		r := rigtest.Run(t, cmd, nil)
		if i := strings.IndexFunc(strings.ReplaceAll(string(r.Stdout), "\n", ""), func(c rune) bool {
			return c < ' ' || c >= 0x7f && c <= 0x9f || c == '\u202e'
		}); i >= 0 || len(r.Stdout) == 0 {
			t.Errorf("%q: %q", args, r.Stdout)
		}
		if strings.Contains(string(r.Stdout), `\u001b`) {
			t.Errorf("%q: %q", args, r.Stdout)
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
		_, err := doctor.Run(ctx, doctor.Options{Options: machine.Options{Driver: aws.Driver{}, Choice: machine.Choice{Target: "web-1"}}}, func(f doctor.Finding) {
			if last = f.Check; interrupted && last == "handshake" {
				time.AfterFunc(50*time.Millisecond, stop)
			}
		})
		stop()
		if took := time.Since(begun); interrupted && took > 2*time.Second+rigtest.Margin {
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
	rigtest.WaitFor(t, "end of the goroutines", func() bool { return runtime.NumGoroutine() <= before })
}

// TestDoctorUsage: wrong usage is no finding.
func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{""}, {"ecs:x"}, {"web-1", "no such port"}, {"web-1", "22", "23"}, {"--push-key", "web-1"}, {"--push-key", "--user", "ops"}} {
		cmd := exec.Command(rigtest.SSMPipe, append([]string{"doctor"}, args...)...)
		r := rigtest.Run(t, cmd, nil)
		if r.Status != 2 || len(r.Stdout) > 0 || r.Stderr == "" {
			t.Errorf("%q: status %d, %q, %q", args, r.Status, r.Stdout, r.Stderr)
		}
	}
}
