package machine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// rigNames is an account with machines that have names. Port 22 of each says
// its id and hangs up.
type rigNames struct {
	*awstest.Server
	env []string
}

func newRigNames(t testing.TB, nodes ...awstest.Node) *rigNames {
	t.Helper()
	r := &rigNames{Server: awstest.NewServer(awstest.Config{Config: ssmtest.Config{Regions: []string{"eu-central-1"}}})}
	t.Cleanup(func() {
		r.Close()
		rigtest.NoSessions(t, r)
	})
	for _, n := range nodes {
		r.add(n)
	}
	r.env = rigtest.Environ(t, r.Server)
	return r
}

func (r *rigNames) add(n awstest.Node) {
	n.Dial = rigtest.Says(n.ID)
	r.AddNode(n)
}

// reach runs ssmpipe proxy and returns which machine has answered.
func (r *rigNames) reach(t testing.TB, args ...string) (id string, said rigtest.Result) {
	t.Helper()
	cmd := exec.Command(rigtest.SSMPipe, append([]string{"proxy"}, args...)...)
	cmd.Env = r.env
	said = rigtest.Run(t, cmd, nil)
	return string(said.Stdout), said
}

// leads checks that a name leads to a machine, in silence.
func (r *rigNames) leads(t testing.TB, want string, args ...string) {
	t.Helper()
	if id, said := r.reach(t, args...); id != want || said.Status != 0 || said.Stderr != "" {
		t.Errorf("%q leads to %q, status %d, stderr %q", args, id, said.Status, said.Stderr)
	}
}

// fails checks that a name leads nowhere, and what is said of it.
func (r *rigNames) fails(t testing.TB, want string, args ...string) {
	t.Helper()
	id, said := r.reach(t, args...)
	if id != "" || said.Status != 1 || !regexp.MustCompile(want).MatchString(said.Stderr) {
		t.Errorf("%q leads to %q, status %d, stderr %q, not %q", args, id, said.Status, said.Stderr, want)
	}
}

const (
	web1 = "i-00000000000000001"
	web2 = "i-00000000000000002"
	db1  = "i-00000000000000003"
	far1 = "mi-00000000000000004"
	euro = "i-00000000000000005"
)

func TestNamesLeadToMachines(t *testing.T) {
	t.Parallel()
	r := newRigNames(t,
		awstest.Node{ID: web1, Name: "web-1", ASG: "webs", PrivateIP: "10.0.3.7"},
		awstest.Node{ID: web2, Name: "Web Two *", Tags: map[string]string{"role": "db?"}},
		awstest.Node{ID: db1, Name: "db", Tags: map[string]string{"role": "dbx"}},
		awstest.Node{ID: far1, Name: "attic"},
		awstest.Node{ID: euro, Name: "web-1", Region: "eu-central-1"},
	)
	for _, tt := range []struct{ name, want string }{
		{web1, web1},
		{"web-1", web1},
		{"web-1--eu-central-1", euro},
		{"web-1--us-east-1", web1},
		{"asg:webs", web1},
		{"10.0.3.7", web1},
		{"ip-10-0-3-7.ec2.internal", web1},
		{"Web Two *", web2}, // EC2's filters have patterns, names have not
		{"web two *", web2}, // as ssh writes it
		{"tag:role=db?", web2},
		{"tag:role=dbx", db1},
		{"attic", far1},
		{far1, far1},
	} {
		r.leads(t, tt.want, tt.name)
	}
	r.leads(t, web1, "--strip-suffix", ".prod", "web-1.prod")
	r.leads(t, euro, "--region", "eu-central-1", "web-1")
	r.leads(t, web1, "--via", "web-1", "db.internal", "5432")
	r.fails(t, `^ssmpipe: Web\*: there is no such machine in us-east-1; `, "Web*")
}

func TestANameIsAskedForOnceInFiveMinutes(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web-1"}, awstest.Node{ID: web2, Name: "web-2"})
	asked := func() [2]int {
		return [2]int{r.Calls("DescribeInstances"), r.Calls("DescribeInstanceInformation")}
	}
	r.leads(t, web1, web1)
	if got := asked(); got != [2]int{0, 0} {
		t.Errorf("an id was asked for: %v", got)
	}
	r.leads(t, web1, "web-1")
	if got := asked(); got != [2]int{1, 1} {
		t.Errorf("a name took %v calls", got)
	}
	r.leads(t, web1, "web-1")
	if got := asked(); got != [2]int{1, 1} {
		t.Errorf("the second time took more: %v", got)
	}
	r.leads(t, web2, "web-2")
	// Another account has the same names.
	r.SetCredentials("AKIDANOTHER", "secret", "")
	r.env = append(r.env, "AWS_ACCESS_KEY_ID=AKIDANOTHER", "AWS_SECRET_ACCESS_KEY=secret")
	r.leads(t, web1, "web-1")
	if got := asked(); got != [2]int{3, 3} {
		t.Errorf("another account's answer was taken: %v", got)
	}
}

func TestANameIsAskedForAgainWhenItsMachineHasGone(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web-1"})
	r.leads(t, web1, "web-1")
	r.add(awstest.Node{ID: web1, Name: "web-1", State: "terminated"})
	r.add(awstest.Node{ID: web2, Name: "web-1"})
	r.leads(t, web2, "web-1")
	r.leads(t, web2, "web-1")
	if n := r.Calls("StartSession"); n != 4 {
		t.Errorf("%d sessions were asked for: the new answer was not kept", n)
	}
}

func TestACacheThatIsBrokenIsNone(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web-1"})
	r.leads(t, web1, "web-1")
	dir := ""
	for _, v := range r.env {
		if value, ok := strings.CutPrefix(v, "SSMPIPE_CACHE="); ok {
			dir = value
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	name := dir + "/" + files[0].Name()
	if info, _ := os.Stat(name); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	whole := string(rigtest.ReadFile(t, name))
	for _, content := range []string{"", "{", whole[:len(whole)/2], strings.ToUpper(whole), strings.ReplaceAll(whole, "i-0", "--0")} {
		rigtest.WriteFile(t, name, content)
		r.leads(t, web1, "web-1")
	}
	// One that cannot be written is none either.
	r.env = append(r.env, "SSMPIPE_CACHE=/dev/null")
	r.leads(t, web1, "web-1")
}

func TestManyResolveAtOnce(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web-1"})
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() { r.leads(t, web1, "web-1") })
	}
	all.Wait()
}

func TestSeveralMachinesOfAName(t *testing.T) {
	t.Parallel()
	launched := time.Date(2026, 11, 1, 12, 0, 0, 0, time.Local)
	r := newRigNames(t,
		awstest.Node{ID: web2, Name: "web", Launched: launched.AddDate(0, 0, 2), PrivateIP: "10.0.0.2"},
		awstest.Node{ID: web1, Name: "web", Launched: launched, PrivateIP: "10.0.0.1"},
		awstest.Node{ID: db1, Name: "web", Launched: launched.AddDate(0, 0, 9), State: "stopped"},
		awstest.Node{ID: euro, Name: "web", Launched: launched.AddDate(0, 0, 8), Node: ssmtest.Node{NotConnected: true}, PrivateIP: "10.0.0.5"},
	)
	r.fails(t, `^ssmpipe: web: 3 machines have this name; choose by id, or with --pick newest, oldest or any:
    `+web1+`  web  running  10.0.0.1  launched 2026-11-01 12:00
    `+web2+`  web  running  10.0.0.2  launched 2026-11-03 12:00
    `+euro+`  web  running  10.0.0.5  launched 2026-11-09 12:00
$`, "web")
	r.leads(t, web1, "--pick", "oldest", "web")
	r.leads(t, web2, "--pick", "newest", "web") // of those that answer
	r.leads(t, web1, "--pick", "any", "web")
	r.leads(t, web2, web2)
}

func TestTheOneOfANameThatRunsIsMeant(t *testing.T) {
	t.Parallel()
	r := newRigNames(t,
		awstest.Node{ID: web1, Name: "web", State: "stopped"},
		awstest.Node{ID: web2, Name: "web"},
		awstest.Node{ID: db1, Name: "web", State: "terminated"},
	)
	r.leads(t, web2, "web")
}

func TestNamesThatAreNearAreSuggested(t *testing.T) {
	t.Parallel()
	r := newRigNames(t,
		awstest.Node{ID: web1, Name: "web-1"},
		awstest.Node{ID: web2, Name: "web-2"},
		awstest.Node{ID: db1, Name: "billing-database"},
		awstest.Node{ID: far1, Name: "evil\x1b[31m\nweb-4"},
	)
	r.fails(t, `^ssmpipe: web-3: there is no such machine in us-east-1; did you mean web-1, web-2\?\n$`, "web-3")
	r.fails(t, `did you mean billing-database\?`, "datab")
	r.fails(t, `did you mean evil \[31m web-4\?\n$`, "evil[31mweb-4")
	r.fails(t, `there is no such machine in us-east-1; "ssmpipe ls" lists`, "xyzzy")
	r.fails(t, `there is no such machine in us-east-1; "ssmpipe ls" lists`, "tag:Role=none")
}

func TestWhyAMachineCannotBeReached(t *testing.T) {
	t.Parallel()
	r := newRigNames(t,
		awstest.Node{ID: web1, Name: "stopped", State: "stopped"},
		awstest.Node{ID: web2, Name: "lost", Node: ssmtest.Node{NotConnected: true}, Pinged: time.Now().Add(-3 * time.Hour)},
		awstest.Node{ID: db1, Name: "bare", NeverCalled: true, Profile: awstest.None},
		awstest.Node{ID: euro, Name: "new", NeverCalled: true},
		awstest.Node{ID: far1, Name: "away", Node: ssmtest.Node{NotConnected: true}, Pinged: time.Now().Add(-72 * time.Hour)},
	)
	r.fails(t, `^ssmpipe: stopped \(`+web1+`\): it is stopped; --start starts it\n$`, "stopped")
	r.fails(t, `^ssmpipe: `+web1+`: TargetNotConnected: .* it is stopped; --start starts it\n$`, web1)
	for range 2 { // the second time it would come from the cache
		r.fails(t, `^ssmpipe: lost \(`+web2+`\): TargetNotConnected: .* its SSM agent has not called in for 3 h; "ssmpipe doctor lost" looks for the reason\n$`, "lost")
	}
	r.fails(t, `bare \(`+db1+`\): TargetNotConnected: .* its SSM agent has never called in; it has no instance profile`, "bare")
	r.fails(t, `its SSM agent has never called in; "ssmpipe doctor new"`, "new")
	r.fails(t, `has not called in for 3 days`, "away")
}

func TestAStoppedMachineIsStarted(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web", State: "stopped"}, awstest.Node{ID: web2, Name: "up"})
	id, said := r.reach(t, "--start", "--connect-timeout", "3s", "web")
	if id != web1 || said.Status != 0 || !regexp.MustCompile(`^ssmpipe: web: it is stopped; starting it\nssmpipe: web: it is up after \d+ s\n$`).MatchString(said.Stderr) {
		t.Errorf("leads to %q, status %d, stderr %q", id, said.Status, said.Stderr)
	}
	r.leads(t, web1, "--start", "web")
	r.leads(t, web2, "--start", web2)
	if n := r.Calls("StartInstances"); n != 1 {
		t.Errorf("%d instances were started", n)
	}
	r.add(awstest.Node{ID: db1, Name: "db", State: "stopped"})
	r.DenyActions("ec2:StartInstances")
	r.fails(t, `db \(`+db1+`\): UnauthorizedOperation: .*ec2:StartInstances.*; ask for the IAM permission`, "--start", "db")
}

func TestOneOfTheTwoPermissionsIsEnough(t *testing.T) {
	t.Parallel()
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web-1"}, awstest.Node{ID: far1, Name: "attic"})
	for _, tt := range []struct {
		action string
		names  map[string]string
	}{
		{"ec2:DescribeInstances", map[string]string{"web-1": web1, "attic": far1}},
		{"ssm:DescribeInstanceInformation", map[string]string{"web-1": web1}},
	} {
		r.env = append(r.env, "SSMPIPE_CACHE="+filepath.Join(t.TempDir(), "cache"))
		r.DenyActions(tt.action)
		for name, want := range tt.names {
			id, said := r.reach(t, name)
			if id != want || said.Status != 0 || said.Stderr != "ssmpipe: "+name+": "+tt.action+" is not allowed; continuing without it\n" {
				t.Errorf("without %s %s leads to %q, %q", tt.action, name, id, said.Stderr)
			}
		}
	}
	r.DenyActions("ec2:DescribeInstances", "ssm:DescribeInstanceInformation")
	r.fails(t, `^ssmpipe: web-2: ec2:DescribeInstances: UnauthorizedOperation: .*; ssm:DescribeInstanceInformation: AccessDeniedException: .*; ask for`, "web-2")
	r.leads(t, web1, web1)
}

func TestAContainerIsFoundByItsTask(t *testing.T) {
	t.Parallel()
	r := newRigNames(t)
	container := func(name string) awstest.Container {
		return awstest.Container{Name: name, Node: ssmtest.Node{Dial: rigtest.Says(name)}}
	}
	one := r.AddTask(awstest.Task{Cluster: "web", Containers: []awstest.Container{container("app")}})
	two := r.AddTask(awstest.Task{Cluster: "web", Containers: []awstest.Container{container("app_1"), container("sidecar")}})
	waiting := r.AddTask(awstest.Task{Cluster: "web", Status: "PENDING", Containers: []awstest.Container{{Name: "app", Status: "PENDING", RuntimeID: awstest.None}}})
	r.leads(t, "app", "ecs:web/"+one.ID)
	r.leads(t, "app", "ecs:web/"+one.ID+"/app--us-east-1")
	r.leads(t, "sidecar", "ecs:web/"+two.ID+"/sidecar")
	r.leads(t, "sidecar", "ecs:web/"+two.ID+"/sidecar")
	if n := r.Calls("DescribeTasks"); n != 3 {
		t.Errorf("tasks were asked for %d times", n)
	}
	r.fails(t, `several machines have this name: add one of the task's containers: /app_1, /sidecar\n`, "ecs:web/"+two.ID)
	r.fails(t, `there is no such machine: the task's containers are app_1, sidecar\n`, "ecs:web/"+two.ID+"/app")
	r.fails(t, `there is no such machine in us-east-1: the cluster web has no task 0123456789abcdef0123456789abcdef\n`, "ecs:web/0123456789abcdef0123456789abcdef")
	r.fails(t, `ClusterNotFoundException`, "ecs:none/"+one.ID)
	r.fails(t, `the container is pending`, "ecs:web/"+waiting.ID)
}

func TestFindTellsWhatIsKnown(t *testing.T) {
	r := newRigNames(t, awstest.Node{ID: web1, Name: "web"}, awstest.Node{ID: web2, Name: "web", State: "stopped"})
	for _, v := range r.env {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") || name == "SSMPIPE_CACHE" {
			t.Setenv(name, value)
		}
	}
	find := func(name string) ([]driver.Machine, error) {
		c, err := (&machine.Options{Driver: aws.Driver{}, Choice: machine.Choice{Target: name}}).Configure(t.Context(), t.Context())
		defer c.Release()
		if err != nil {
			t.Fatal(err)
		}
		return c.Find(t.Context())
	}
	list, err := find("web")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, m := range list {
		if m.Name != "web" || m.Region != "us-east-1" || m.PrivateIP == "" || m.Online() != (m.ID == web1) {
			t.Errorf("%+v", m)
		}
	}
	if _, err := find("none"); !errors.Is(err, driver.ErrNoMachine) {
		t.Error(err)
	}
}
