package list_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

const (
	me  = "arn:aws:iam::123456789012:user/example" // who calls ssmtest
	you = "arn:aws:sts::123456789012:assumed-role/admin/you"
)

const hostileReason = "ticket \u202e4711\u009b2J\n"

// newSessions is an account with two sessions of one's own, the second newer,
// and somebody else's.
func newSessions(t *testing.T) *account {
	a := newAccount(t, ssmtest.Config{}, fewNodes()...)
	for _, p := range []awstest.PlantedSession{
		{ID: "you-0ccc", Owner: you, Target: "i-0web1", Started: long(80 * time.Hour)},
		{ID: "me-0aaa", Owner: me, Target: "i-0web1", Document: "AWS-StartSSHSession", Started: long(3 * time.Hour)},
		{ID: "me-0bbb", Owner: me, Target: "mi-0rack", Document: "AWS-StartPortForwardingSession", Started: long(5 * time.Minute), Reason: hostileReason},
	} {
		a.PlantSession(p)
	}
	return a
}

// ended returns the ids of the sessions that have ended, newest first.
func (a *account) ended() (ids []string) {
	for _, s := range slices.Backward(a.Sessions()) {
		if s.Ended() {
			ids = append(ids, s.ID())
		}
	}
	return ids
}

func TestSessions(t *testing.T) {
	t.Parallel()
	a := newSessions(t)
	want := `
ID       TARGET    NAME  DOCUMENT                        STATUS     STARTED    REASON
me-0bbb  mi-0rack  -     AWS-StartPortForwardingSession  connected  5 min ago  ticket  4711 2J 
me-0aaa  i-0web1   -     AWS-StartSSHSession             connected  3 h ago    -
`
	if got := "\n" + strings.Join(a.run(t, 0, "", "sessions"), ""); got != want {
		t.Errorf("got%swant%s", got, want)
	}
	a.run(t, 0, "", "ls") // knows names
	if lines := a.run(t, 0, "", "sessions"); !strings.HasPrefix(lines[1], "me-0bbb  mi-0rack  rack 7  AWS-") {
		t.Errorf("%q", lines)
	}
	lines := a.run(t, 0, "", "sessions", "--all")
	if len(lines) != 4 || !strings.Contains(lines[0], " OWNER ") || !strings.Contains(lines[3], " "+you+" ") {
		t.Errorf("%q", lines)
	}
}

// TestManySessions are more than a page of the service's.
func TestManySessions(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{})
	for range 450 {
		a.PlantSession(awstest.PlantedSession{Owner: me, Target: "i-0web1"})
	}
	if lines := a.run(t, 0, "", "sessions"); len(lines) != 451 {
		t.Errorf("%d lines", len(lines))
	}
	if lines := a.run(t, 0, "", "sessions", "--terminate"); len(lines) != 451 || len(a.ended()) != 450 {
		t.Errorf("%d lines, %d ended", len(lines), len(a.ended()))
	}
}

func TestSessionsInJSON(t *testing.T) {
	t.Parallel()
	a := newSessions(t)
	var ids []string
	for _, line := range a.run(t, 0, "", "sessions", "--json") {
		var s struct {
			ID, Target, Region, Owner, Document, Status, Reason string
			Started                                             time.Time
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil || s.Region != "us-east-1" || s.Owner != me || time.Since(s.Started) < time.Minute {
			t.Errorf("%q: %v", line, err)
		}
		if s.ID == "me-0bbb" && s.Reason != hostileReason {
			t.Errorf("reason %q", s.Reason)
		}
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []string{"me-0bbb", "me-0aaa"}) {
		t.Errorf("%q", ids)
	}
}

// TestSessionsToTargets lists, and ends, those that arguments name.
func TestSessionsToTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		want   string // ids
		status int
		stderr string
	}{
		{nil, "me-0bbb me-0aaa", 0, ""},
		{[]string{"i-0web1"}, "me-0aaa", 0, ""},
		{[]string{"i-0web1--us-east-1"}, "me-0aaa", 0, ""},
		{[]string{"web-1"}, "me-0aaa", 0, ""},
		{[]string{"me-0bbb"}, "me-0bbb", 0, ""},
		{[]string{"me-0bbb", "mi-0rack"}, "me-0bbb", 0, ""},
		{[]string{"rack 7"}, "me-0bbb", 0, ""},
		{[]string{"i-0web1", "me-0bbb"}, "me-0bbb me-0aaa", 0, ""},
		{[]string{"i-0nobody"}, "", 1, "you have no active sessions in us-east-1"},
		{[]string{"i-0web1", "mi-0nobody"}, "me-0aaa", 1, "mi-0nobody: there is no active session to it"},
		{[]string{"i-0web1", "Web-10"}, "me-0aaa", 1, "Web-10: there is no active session to it"},
		{[]string{"i-0web1", "nobody"}, "me-0aaa", 1, "nobody: no active session has this id, and there is no such machine in us-east-1"},
		{[]string{"you-0ccc", "i-0web1"}, "me-0aaa", 1, "you-0ccc: no active session has this id"},
		{[]string{"--all", "you-0ccc"}, "you-0ccc", 0, ""},
		{[]string{"--all", "i-0web1"}, "me-0aaa you-0ccc", 0, ""},
		{[]string{"i-0web1--us-east-1", "i-0web1--eu-central-1"}, "", 2, "one region at a time"},
		{[]string{"tag:x"}, "", 2, "is not a target"},
	} {
		for _, terminate := range []bool{false, true} {
			a := newSessions(t)
			args := []string{"sessions"}
			if terminate {
				args = append(args, "--terminate")
			}
			var got []string
			for i, line := range a.run(t, tt.status, tt.stderr, append(args, tt.args...)...) {
				if id, _, _ := strings.Cut(line, " "); i > 0 {
					got = append(got, id)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q lists %q", tt.args, got)
			}
			if ended := a.ended(); terminate && !slices.Equal(ended, got) || !terminate && len(ended) > 0 {
				t.Errorf("%q ends %q", tt.args, ended)
			}
		}
	}
}

func TestSessionsOfAllAreNotEnded(t *testing.T) {
	t.Parallel()
	a := newSessions(t)
	a.run(t, 2, "--terminate needs a TARGET or a session's ID", "sessions", "--all", "--terminate")
	if ended := a.ended(); len(ended) > 0 {
		t.Errorf("ended %q", ended)
	}
	lines := a.run(t, 0, "", "sessions", "--terminate", "--json")
	if len(lines) != 2 || !strings.Contains(lines[0], `"ended":true`) || !strings.Contains(lines[1], `"ended":true`) {
		t.Errorf("%q", lines)
	}
}

// TestSessionsThatCannotBeEnded are told one by one, and the others are ended.
// One that has ended by itself is no failure.
func TestSessionsThatCannotBeEnded(t *testing.T) {
	t.Parallel()
	refuse := func(a *account, code string) {
		a.OnAPI(func(operation string) *ssmtest.APIError {
			if operation == "TerminateSession" && a.Calls(operation) == 1 {
				return &ssmtest.APIError{Status: 400, Code: code, Message: "no"}
			}
			return nil
		})
	}
	a := newSessions(t)
	refuse(a, "DoesNotExistException")
	if lines := a.run(t, 0, "", "sessions", "--terminate"); len(lines) != 3 {
		t.Errorf("%q", lines)
	}
	a = newSessions(t)
	refuse(a, "AccessDeniedException")
	lines := a.run(t, 1, "me-0bbb: AccessDeniedException: no; ask for", "sessions", "--terminate")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "me-0aaa ") {
		t.Errorf("%q", lines)
	}
}

func TestNoSessions(t *testing.T) {
	t.Parallel()
	a := newAccount(t, ssmtest.Config{})
	for _, args := range [][]string{{"sessions"}, {"sessions", "--terminate"}, {"sessions", "--json"}} {
		if lines := a.run(t, 0, "you have no active sessions in us-east-1", args...); len(lines) > 0 {
			t.Errorf("%q", lines)
		}
	}
	a.run(t, 0, "there are no active sessions in us-east-1", "sessions", "--all")
	a.DenyActions("ssm:DescribeSessions")
	a.run(t, 1, "us-east-1: AccessDeniedException: User: "+me+" is not authorized to perform: ssm:DescribeSessions", "sessions")
}
