package doctor_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/doctor"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

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
	if !slices.Equal(got, want) || d.Status != 0 || d.Stderr != "" {
		t.Errorf("status %d, %q, checked %q", d.Status, d.Stderr, got)
	}
	for check, fact := range map[string]string{
		"identity":      "account 123456789012",
		"target":        rigtest.Node1 + " (web-1, ",
		"handshake":     "agent 3.3.0.0",
		"port 22":       "SSH-2.0-OpenSSH_9.9 test, round trip ",
		"agent version": "3.3.0.0",
		"ssh config":    "user ops, port 22",
	} {
		if f := d.of(check); f == nil || !strings.Contains(f.Detail, fact) {
			t.Errorf("%s: %q is not in %+v", check, fact, f)
		}
	}
	if keys := p.PublicKeys(rigtest.Node1, "ops"); len(keys) != 1 {
		t.Errorf("%d keys were pushed", len(keys))
	}
	if s := p.Sessions(); len(s) != 1 || s[0].Resumes() != 1 || p.Calls("TerminateSession") != 1 {
		t.Errorf("%d sessions, %d terminated", len(s), p.Calls("TerminateSession"))
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
		}, nil, "endpoint ssm", doctor.StatusFailed, "DNS: ", "HTTPS_PROXY is not a URL, and has no effect: write it as http://NAME:PASSWORD@HOST:PORT, special characters as %XX", 1},
		{"no such profile", func(t *testing.T, p *patient) { p.profile(t, "[profile good]\nregion = us-east-1\n") }, []string{"--profile", "nobody", "web-1"},
			"configuration", doctor.StatusFailed, `no profile "nobody"`, "there is good", 1},
		{"no region", func(_ *testing.T, p *patient) { p.unset("AWS_REGION") }, nil,
			"configuration", doctor.StatusFailed, "no region", "AWS_REGION", 1},
		{"a zone in place of the region", nil, []string{"--region", "us-east-1a", "web-1"},
			"configuration", doctor.StatusFailed, "from --region", "its region is us-east-1", 1},
		{"no region is written so", nil, []string{"--region", "virginia", "web-1"},
			"configuration", doctor.StatusFailed, "virginia", "looks like eu-central-1", 1},
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
		{"ec2 is dead", func(_ *testing.T, p *patient) { p.env = append(p.env, "AWS_ENDPOINT_URL_EC2=http://127.0.0.1:1") }, []string{rigtest.Node1},
			"endpoint ec2", doctor.StatusWarning, "TCP: ", "without it only the names", 0},
		{"ssm does not resolve", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL_SSM=https://nothing.invalid")
		}, nil, "endpoint ssm", doctor.StatusFailed, "nothing.invalid: DNS: ", "private DNS names", 1},
		{"what answers does not speak TLS", func(_ *testing.T, p *patient) {
			p.env = append(p.env, "AWS_ENDPOINT_URL_SSM="+strings.Replace(p.URL(), "http:", "https:", 1))
		}, nil, "endpoint ssm", doctor.StatusFailed, "TLS: ", "captive portal", 1},

		{"ec2:DescribeInstances is denied", deny("ec2:DescribeInstances"), []string{rigtest.Node1},
			"permission ec2:DescribeInstances", doctor.StatusWarning, "UnauthorizedOperation", "names, addresses and states", 0},
		{"ssm:DescribeInstanceInformation is denied", deny("ssm:DescribeInstanceInformation"), nil,
			"permission ssm:DescribeInstanceInformation", doctor.StatusWarning, "AccessDenied", "the agents' status", 0},
		{"both are denied, and the target is a name", deny("ec2:DescribeInstances", "ssm:DescribeInstanceInformation"), nil,
			"target", doctor.StatusFailed, "", "ask for the IAM permission", 1},
		{"both are denied, and the target is an id", deny("ec2:DescribeInstances", "ssm:DescribeInstanceInformation"), []string{rigtest.Node1},
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
			"permission ssm:ResumeSession", doctor.StatusFailed, "AccessDenied", "the hourly disconnect", 1},
		{"ssm:TerminateSession is denied", deny("ssm:TerminateSession"), nil,
			"permission ssm:TerminateSession", doctor.StatusWarning, "AccessDenied", "no session behind", 0},
		{"keys cannot be pushed", deny("ec2-instance-connect:SendSSHPublicKey"), []string{"--push-key", "--user", "ops", "web-1"},
			"permission ec2-instance-connect:SendSSHPublicKey", doctor.StatusFailed, "AccessDenied", "--push-key", 1},

		{"no such machine", nil, []string{"web-2"}, "target", doctor.StatusFailed, "no such machine", "did you mean web-1?", 1},
		{"in another region", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Region = "us-west-2" }) }, nil,
			"target", doctor.StatusFailed, "no such machine in us-east-1", "--profile and --region select", 1},
		{"the region is in the name", nil, []string{"web-1--us-west-2"},
			"configuration", doctor.StatusOK, "us-west-2 (from the target)", "", 1},
		{"several", func(_ *testing.T, p *patient) {
			p.AddNode(awstest.Node{ID: rigtest.Node2, Name: "web-1"})
		}, nil, "target", doctor.StatusFailed, rigtest.Node2, "--pick newest", 1},
		{"stopped", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.State = "stopped" }) }, nil,
			"state", doctor.StatusFailed, "stopped", "start-instances --region us-east-1 --instance-ids " + rigtest.Node1, 1},
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
		}, nil, "agent version", doctor.StatusWarning, "--via, and forwards to hosts behind it (3.1.1374.0)", "AWS-UpdateSSMAgent --instance-ids " + rigtest.Node1, 0},
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
			"port 22", doctor.StatusWarning, "sends nothing", "sshd does not behave like that", 0},
		{"a web server is silent", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = speaks("") }) }, []string{"web-1", "80"},
			"port 80", doctor.StatusOK, "sends nothing by itself, round trip", "", 0},
		{"not sshd", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = speaks("220 mail\r\n") }) }, nil,
			"port 22", doctor.StatusWarning, "220 mail", "sshd does not behave like that", 0},
		{"sshd has had enough", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Dial = rigtest.Says("Exceeded MaxStartups\r\n") })
		}, nil, "port 22", doctor.StatusWarning, `says "Exceeded MaxStartups"`, "how busy it is", 0},
		{"sshd hangs up", func(_ *testing.T, p *patient) { p.change(func(n *awstest.Node) { n.Dial = rigtest.Says("") }) }, nil,
			"port 22", doctor.StatusFailed, "closed the connection", "see its log", 1},
		{"sshd greets first", func(_ *testing.T, p *patient) {
			p.change(func(n *awstest.Node) { n.Dial = speaks("hello\nagain\nSSH-2.0-x y\r\n") })
		}, nil, "port 22", doctor.StatusOK, "SSH-2.0-x y, round", "", 0},

		{"no ssh", func(t *testing.T, p *patient) { os.Remove(p.tool(t, "ssh")) }, nil,
			"ssh", doctor.StatusFailed, "no ssh on PATH", "install the OpenSSH client", 1},
		{"ssh hangs", func(t *testing.T, p *patient) {
			os.WriteFile(p.tool(t, "ssh"), []byte("#!/bin/sh\nwhile :; do :; done\n"), 0o755)
		}, nil, "ssh", doctor.StatusWarning, "did not exit within 5s", "", 1},
		{"an ancient ssh", func(t *testing.T, p *patient) {
			os.WriteFile(p.tool(t, "ssh"), []byte("#!/bin/sh\necho OpenSSH_7.2p2 >&2\necho 'proxycommand ssmpipe x'\n"), 0o755)
		}, nil, "ssh", doctor.StatusWarning, "OpenSSH_7.2p2", "needs Include", 0},
		{"not in the configuration", func(t *testing.T, p *patient) { p.ssh(t, "host web-1\nproxycommand none\n") }, nil,
			"ssh config", doctor.StatusFailed, "does not go through ssmpipe", `"ssmpipe ssh-config --install --hosts"`, 1},
		{"not in the configuration, by id", func(t *testing.T, p *patient) { p.ssh(t, "proxycommand none\n") }, []string{rigtest.Node1},
			"ssh config", doctor.StatusFailed, "does not go through ssmpipe", `"ssmpipe ssh-config --install"`, 1},
		{"another client in the configuration", func(t *testing.T, p *patient) {
			p.ssh(t, "host web-1\nproxycommand sh -c \"aws ssm start-session --target %h\"\n")
		}, nil, "ssh config", doctor.StatusFailed, "aws ssm start-session", "ssmpipe ssh-config --install", 1},
		{"the configuration calls what has gone", func(t *testing.T, p *patient) {
			p.ssh(t, "host web-1\nproxycommand /nowhere/ssmpipe proxy web-1 22\n")
		}, nil, "ssh config", doctor.StatusFailed, "/nowhere/ssmpipe, which does not exist", "again", 1},
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
			if d.Status != tt.exit {
				t.Errorf("status %d", d.Status)
			}
			if t.Failed() {
				t.Log(d)
			}
		})
	}
}
