package list_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// account is an AWS account to list.
type account struct {
	*awstest.Server
	env []string
}

func newAccount(t testing.TB, cfg ssmtest.Config, nodes ...awstest.Node) *account {
	a := &account{Server: awstest.NewServer(awstest.Config{Config: cfg})}
	t.Cleanup(a.Close)
	for _, n := range nodes {
		a.AddNode(n)
	}
	a.env = rigtest.Environ(t, a.Server)
	return a
}

func (a *account) command(args ...string) *exec.Cmd {
	cmd := exec.Command(rigtest.SSMPipe, args...)
	cmd.Env = a.env
	return cmd
}

// run runs a command that ends by itself, with this status and, if stderr is
// not "", one line there.
func (a *account) run(t testing.TB, status int, stderr string, args ...string) (lines []string) {
	t.Helper()
	r := rigtest.Run(t, a.command(args...), nil)
	if r.Status != status {
		t.Errorf("%q: status %d, want %d; stderr %q", args, r.Status, status, r.Stderr)
	}
	if want := min(len(stderr), 1); strings.Count(r.Stderr, "\n") != want || !strings.Contains(r.Stderr, stderr) {
		t.Errorf("%q: stderr %q, want %d lines with %q", args, r.Stderr, want, stderr)
	}
	return slices.Collect(strings.Lines(string(r.Stdout)))
}

// ids are those of a table or of JSON lines, sorted.
func ids(lines []string) (list []string) {
	for _, line := range lines {
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \n\",:", r) }) {
			if strings.HasPrefix(word, "i-") || strings.HasPrefix(word, "mi-") {
				list = append(list, word)
				break
			}
		}
	}
	slices.Sort(list)
	return list
}

func long(d time.Duration) time.Time { return time.Now().Add(-d - d/100 - time.Second) }

func fewNodes() []awstest.Node {
	return []awstest.Node{
		{ID: "i-0web1", Name: "web-1", PrivateIP: "10.0.3.7", Pinged: long(3 * time.Minute), Node: ssmtest.Node{Agent: &ssmtest.Agent{Version: "3.3.2299.0"}}},
		{ID: "i-0web10", Name: "Web-10", PrivateIP: "10.0.13.207", Node: ssmtest.Node{NotConnected: true, Agent: &ssmtest.Agent{Version: "3.1.1"}}, Pinged: long(3 * time.Hour)},
		{ID: "i-0none", PrivateIP: "10.0.3.9", NeverCalled: true},
		{ID: "i-0db", Name: "データベース", PrivateIP: "10.0.3.8", State: "stopped"},
		{ID: "mi-0rack", Name: "rack 7", PrivateIP: "192.168.1.7", Pinged: long(5 * time.Minute), Node: ssmtest.Node{Agent: &ssmtest.Agent{Version: "3.3.2299.0"}}, Platform: "Ubuntu", PlatformVersion: "24.04"},
	}
}

func manyNodes(n int) (nodes []awstest.Node) {
	for i := range n {
		nodes = append(nodes, awstest.Node{ID: fmt.Sprintf("i-0%05d", i), Name: fmt.Sprintf("node-%d", i)})
	}
	return nodes
}

func TestLs(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	want := `
NAME          ID        STATE    PING    LAST PING  AGENT       PLATFORM           IP
web-1         i-0web1   running  online  3 min ago  3.3.2299.0  Amazon Linux 2023  10.0.3.7
Web-10        i-0web10  running  lost    3 h ago    3.1.1       Amazon Linux 2023  10.0.13.207
データベース  i-0db     stopped  -       -          -           Linux/UNIX         10.0.3.8
-             i-0none   running  -       -          -           Linux/UNIX         10.0.3.9
rack 7        mi-0rack  -        online  5 min ago  3.3.2299.0  Ubuntu 24.04       192.168.1.7
`
	if got := "\n" + strings.Join(a.run(t, 0, "", "ls"), ""); got != want {
		t.Errorf("got%swant%s", got, want)
	}
}

func TestLsPatterns(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	for _, tt := range []struct {
		patterns string
		want     string
	}{
		{"web", "i-0web1 i-0web10"},
		{"WEB-?", "i-0web1"},
		{"*1", "i-0web1"},
		{"i-0d", "i-0db"},
		{"rack web-1*", "i-0web1 i-0web10 mi-0rack"},
		{"データ", "i-0db"},
	} {
		args := append([]string{"ls"}, strings.Fields(tt.patterns)...)
		if got := strings.Join(ids(a.run(t, 0, "", args...)), " "); got != tt.want {
			t.Errorf("%q lists %s", tt.patterns, got)
		}
	}
	lines := a.run(t, 1, `nothing in us-east-1 matches "wbe"`, "ls", "web-1", "wbe")
	if got := ids(lines); len(got) != 2 {
		t.Errorf("beside what is not there: %q", got)
	}
	if lines := a.run(t, 1, `matches "a\x1bb"`, "ls", "a\x1bb"); len(lines) > 0 {
		t.Errorf("nothing is %q", lines)
	}
	a.run(t, 2, `"web-[" is not a pattern`, "ls", "web-[")
}

func TestLsOfNothing(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{})
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}} {
		if lines := a.run(t, 0, "there are no machines in us-east-1", args...); len(lines) > 0 {
			t.Errorf("stdout %q", lines)
		}
	}
}

// TestLsJSON: a line each, for programs.
func TestLsJSON(t *testing.T) {
	t.Parallel()
	nodes := fewNodes()
	nodes[0].Tags = map[string]string{"role": "\u202e<front>&\u0085"}
	a := newAccount(t, ssmtest.Config{}, nodes...)
	lines := a.run(t, 0, "", "ls", "--json")
	if len(lines) != len(nodes) {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		var m driver.Machine
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil || m.ID == "" || m.Region != "us-east-1" {
			t.Errorf("%q: %v", line, err)
		}
		if m.ID == "i-0web1" && (m.Tags["role"] != nodes[0].Tags["role"] || m.Ping != "Online" || !m.Pinged.Equal(nodes[0].Pinged.Truncate(time.Millisecond))) {
			t.Errorf("%+v", m)
		}
	}
}

// TestLsStartsBeforeTheEnd: the first machines are out before the last page is
// answered.
func TestLsStartsBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const machines, pages = 2000, 4
	a := newAccount(t, ssmtest.Config{}, manyNodes(machines)...)
	seen := make(chan struct{})
	var described atomic.Int64
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "DescribeInstances" && described.Add(1) == pages {
			<-seen
		}
		return nil
	})
	cmd := a.command("ls")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	rigtest.Start(t, cmd)
	stuck := time.AfterFunc(30*time.Second, func() {
		t.Error("nothing is shown before the last page has come")
		close(seen)
	})
	in := bufio.NewReader(stdout)
	for range 2 {
		in.ReadString('\n')
	}
	if stuck.Stop() {
		close(seen)
	}
	rest, _ := io.ReadAll(in)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := len(ids(slices.Collect(strings.Lines(string(rest))))); got != machines-1 {
		t.Errorf("%d more", got)
	}
	if got := described.Load(); got != pages {
		t.Errorf("%d pages", got)
	}
}

// TestLsWhoseReaderLeaves ends, without a word.
func TestLsWhoseReaderLeaves(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, manyNodes(2000)...)
	var described atomic.Int64
	gone := make(chan struct{})
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "DescribeInstances" && described.Add(1) == 3 {
			<-gone
		}
		return nil
	})
	cmd := a.command("ls")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	rigtest.Start(t, cmd)
	bufio.NewReader(stdout).ReadString('\n')
	stdout.Close()
	close(gone)
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 1 || stderr.Len() > 0 {
		t.Errorf("%v, stderr %q", cmd.ProcessState, &stderr)
	}
}

func TestLsWithoutPermissions(t *testing.T) {
	t.Parallel()
	const ec2, ssm = "ec2:DescribeInstances", "ssm:DescribeInstanceInformation"
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	a.DenyActions(ec2)
	lines := a.run(t, 1, ec2+" is not allowed", "ls")
	if got := strings.Join(ids(lines), " "); got != "i-0web1 i-0web10 mi-0rack" {
		t.Errorf("without EC2: %s", got)
	}
	a.DenyActions(ssm)
	lines = a.run(t, 1, ssm+" is not allowed", "ls")
	if got := strings.Join(ids(lines), " "); got != "i-0db i-0none i-0web1 i-0web10" {
		t.Errorf("without Systems Manager: %s", got)
	}
	a.DenyActions(ec2, ssm)
	if lines = a.run(t, 1, ec2, "ls"); len(lines) > 0 {
		t.Errorf("without both: %q", lines)
	}
}

// TestLsWhenEC2FailsInTheMiddle: what Systems Manager knows of the rest is
// shown, each machine once.
func TestLsWhenEC2FailsInTheMiddle(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, manyNodes(1200)...)
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "DescribeInstances" && a.Calls(operation) == 2 {
			return &ssmtest.APIError{Status: 400, Code: "InvalidNextToken", Message: "The specified NextToken is not valid."}
		}
		return nil
	})
	got := ids(a.run(t, 1, "us-east-1: ec2:DescribeInstances failed: InvalidNextToken", "ls"))
	if n := len(slices.Compact(slices.Clone(got))); len(got) != 1200 || n != 1200 {
		t.Errorf("%d lines, %d machines", len(got), n)
	}
}

// TestLsThrottled: what is asked too often is asked again.
func TestLsThrottled(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, manyNodes(600)...)
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if a.Calls(operation)%3 == 1 {
			return awstest.Throttling(operation)
		}
		return nil
	})
	if got := len(ids(a.run(t, 0, "", "ls"))); got != 600 {
		t.Errorf("%d machines", got)
	}
}

// TestLsHangs no longer than it is told to.
func TestLsHangs(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	a.OnAPI(func(string) *ssmtest.APIError {
		<-hang
		return nil
	})
	a.run(t, 1, "us-east-1: timed out after 2s", "ls", "--connect-timeout", "2s")
}

func TestLsRegions(t *testing.T) {
	t.Parallel()
	cfg := ssmtest.Config{Regions: []string{"eu-central-1", "ap-southeast-2"}}
	a := newAccount(t, cfg, fewNodes()...)
	a.AddNode(awstest.Node{ID: "i-0de", Name: "de", Region: "eu-central-1", PrivateIP: "10.1.0.1", NeverCalled: true})
	a.AddNode(awstest.Node{ID: "i-0au", Name: "au", Region: "ap-southeast-2", PrivateIP: "10.2.0.1", NeverCalled: true})

	// None is answered before all have been asked.
	var asked atomic.Int64
	all := make(chan struct{})
	a.OnAPI(func(operation string) *ssmtest.APIError {
		if operation == "DescribeInstances" {
			if asked.Add(1) == 3 {
				close(all)
			}
			<-all
		}
		return nil
	})
	lines := a.run(t, 0, "", "ls", "--regions", "all")
	if got := strings.Fields(lines[0]); len(got) < 3 || got[2] != "REGION" {
		t.Errorf("header %q", lines[0])
	}
	if got := len(ids(lines)); got != 7 {
		t.Errorf("%d machines", got)
	}
	for _, line := range lines {
		if got := strings.Fields(line); got[0] == "de" && (got[1] != "i-0de" || got[2] != "eu-central-1") {
			t.Errorf("%q", line)
		}
	}

	a.OnAPI(nil)
	if got := ids(a.run(t, 0, "", "ls", "--regions", "eu-central-1,ap-southeast-2")); strings.Join(got, " ") != "i-0au i-0de" {
		t.Errorf("two of them: %q", got)
	}
	got := ids(a.run(t, 1, "ssmpipe: xx-west-1: ", "ls", "--json", "--regions", "eu-central-1,xx-west-1"))
	if strings.Join(got, " ") != "i-0de" {
		t.Errorf("beside one that fails: %q", got)
	}
	a.DenyActions("ec2:DescribeRegions")
	if lines := a.run(t, 1, "ec2:DescribeRegions", "ls", "--regions", "all"); len(lines) > 0 {
		t.Errorf("stdout %q", lines)
	}
}

// TestLsRegionsWithOneSetOfCredentials: a person may be asked for each.
func TestLsRegionsWithOneSetOfCredentials(t *testing.T) {
	t.Parallel()
	rigtest.Need(t, "sh")
	a := newAccount(t, ssmtest.Config{Regions: []string{"eu-central-1"}}, fewNodes()...)
	dir := t.TempDir()
	var key, secret string
	var env []string
	for _, e := range a.env {
		name, value, _ := strings.Cut(e, "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			key = value
		case "AWS_SECRET_ACCESS_KEY":
			secret = value
		default:
			env = append(env, e)
		}
	}
	rigtest.WriteFile(t, filepath.Join(dir, "give"), fmt.Sprintf("echo asked >>%s/asked\necho '%s'\n", dir,
		fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q}`, key, secret)))
	rigtest.WriteFile(t, filepath.Join(dir, "config"), "[default]\ncredential_process = sh "+dir+"/give\n")
	a.env = append(env, "AWS_CONFIG_FILE="+dir+"/config")
	a.run(t, 0, "", "ls", "--regions", "all")
	if asked := string(rigtest.ReadFile(t, filepath.Join(dir, "asked"))); asked != "asked\n" {
		t.Errorf("%q", asked)
	}
}
