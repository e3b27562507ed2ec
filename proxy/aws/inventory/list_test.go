package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// account is a service with machines, and what has been told of failures.
type account struct {
	*awstest.Server
	cfg aws.Config

	mu   sync.Mutex
	told []string
}

func newAccount(t testing.TB) *account {
	a := &account{Server: awstest.NewServer(awstest.Config{})}
	t.Cleanup(a.Close)
	for _, v := range a.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	var err error
	if a.cfg, err = config.LoadDefaultConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *account) service() *inventory.Service {
	a.told = nil
	return inventory.New(a.cfg, func(action string, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.told = append(a.told, fmt.Sprint(action, " ", awsapi.Denied(err)))
	})
}

// fill adds 2,000 machines: every tenth is stopped, one in seven is called as
// the one before, and five are no instances of EC2's.
func (a *account) fill() {
	for n := range 1995 {
		node := awstest.Node{ID: fmt.Sprintf("i-%017x", n+1), Name: fmt.Sprintf("web-%d", n-n%7/6)}
		if n%10 == 0 {
			node.State = "stopped"
		}
		a.AddNode(node)
	}
	for n := range 5 {
		a.AddNode(awstest.Node{ID: fmt.Sprintf("mi-%017x", n+1), Name: "attic"})
	}
	a.AddNode(awstest.Node{ID: "i-0000000000000dead", Name: "gone", State: "terminated"})
}

// list lists all, checks that each is there once, and returns them.
func list(t *testing.T, s *inventory.Service) (all []driver.Machine, pages int) {
	t.Helper()
	err := s.List(t.Context(), func(page []driver.Machine) error {
		if len(page) == 0 {
			t.Error("an empty page")
		}
		all = append(all, page...)
		pages++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	seen := make(map[string]bool)
	for _, m := range all {
		if seen[m.ID] || m.Region != "us-east-1" {
			t.Errorf("%+v, seen %v", m, seen[m.ID])
		}
		seen[m.ID] = true
	}
	return all, pages
}

func TestListOfTwoThousand(t *testing.T) {
	a := newAccount(t)
	a.fill()
	all, pages := list(t, a.service())
	if len(all) != 2000 || pages < 4 {
		t.Fatalf("%d machines in %d pages", len(all), pages)
	}
	for n, m := range all {
		running := n%10 != 0
		switch {
		case n >= 1995:
			if !strings.HasPrefix(m.ID, "mi-") || m.Name != "attic" || !m.Online() || m.State != "" {
				t.Errorf("managed node %+v", m)
			}
		case m.Name == "" || m.Online() != running || (m.State == "running") != running || running != (m.Agent != ""):
			t.Errorf("%d: %+v", n, m)
		}
	}
	if n := a.Calls("DescribeInstances"); n != 4 {
		t.Errorf("%d calls of DescribeInstances", n)
	}
	if n := a.Calls("DescribeInstanceInformation"); n != 41 {
		t.Errorf("%d calls of DescribeInstanceInformation", n)
	}
	if len(a.told) > 0 {
		t.Errorf("told %q", a.told)
	}
}

func TestTheFirstPageDoesNotWaitForTheLast(t *testing.T) {
	a := newAccount(t)
	a.fill()
	enough := errors.New("enough")
	var first int
	err := a.service().List(t.Context(), func(page []driver.Machine) error {
		first = len(page)
		return enough
	})
	if !errors.Is(err, enough) || first == 0 || first > 500 {
		t.Errorf("%d machines on the first page, %v", first, err)
	}
	if n := a.Calls("DescribeInstances"); n > 2 {
		t.Errorf("%d pages were asked for", n)
	}
}

func TestListWithoutOneOfTheServices(t *testing.T) {
	a := newAccount(t)
	a.fill()
	a.DenyActions(inventory.EC2Action)
	all, pages := list(t, a.service())
	if len(all) != 1800 || pages < 30 { // those whose agents have called in
		t.Errorf("without EC2 %d machines in %d pages", len(all), pages)
	}
	if want := []string{inventory.EC2Action + " true"}; !slices.Equal(a.told, want) {
		t.Errorf("told %q", a.told)
	}

	a.DenyActions(inventory.SSMAction)
	all, _ = list(t, a.service())
	if len(all) != 1995 || all[7].Ping != "" {
		t.Errorf("without Systems Manager %d machines", len(all))
	}
	if want := []string{inventory.SSMAction + " true"}; !slices.Equal(a.told, want) {
		t.Errorf("told %q", a.told)
	}

	a.DenyActions(inventory.SSMAction, inventory.EC2Action)
	err := a.service().List(t.Context(), func([]driver.Machine) error { return nil })
	var both *inventory.Error
	if !errors.As(err, &both) || !awsapi.Denied(both.EC2) || !awsapi.Denied(both.SSM) {
		t.Errorf("without both: %v", err)
	}
}

func TestListIsThrottledAndGoesOn(t *testing.T) {
	a := newAccount(t)
	a.fill()
	var mu sync.Mutex
	calls := 0
	a.OnAPI(func(operation string) *ssmtest.APIError {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%5 == 0 {
			return awstest.Throttling(operation)
		}
		return nil
	})
	if all, _ := list(t, a.service()); len(all) != 2000 || len(a.told) > 0 {
		t.Errorf("%d machines, told %q", len(all), a.told)
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	a := newAccount(t)
	a.fill()
	ctx, cancel := context.WithCancel(t.Context())
	err := a.service().List(ctx, func([]driver.Machine) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	a := newAccount(t)
	a.fill()
	for _, tt := range []struct {
		query inventory.Query
		want  int
	}{
		{inventory.Query{Tag: [2]string{"Name", "web-5"}}, 2},
		{inventory.Query{Tag: [2]string{"Name", "web-*"}}, 0},
		{inventory.Query{Tag: [2]string{"Name", "attic"}}, 5},
		{inventory.Query{Tag: [2]string{"Name", "gone"}}, 0},
		{inventory.Query{IDs: []string{"i-00000000000000002", "mi-00000000000000003", "i-0123"}}, 2},
		{inventory.Query{IP: "10.99.99.99"}, 0},
	} {
		list, err := a.service().Find(t.Context(), tt.query)
		if err != nil || len(list) != tt.want {
			t.Errorf("%+v: %d machines, %v", tt.query, len(list), err)
		}
	}
}
