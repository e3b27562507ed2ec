package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
)

var (
	// ErrNoMachine says that no machine has the name.
	ErrNoMachine = errors.New("there is no such machine")

	// ErrSeveral says that several machines have the name.
	ErrSeveral = errors.New("several machines have this name")
)

// Pick says how to choose one of several machines with the same name.
type Pick string

// The ways to choose. With the zero value no machine is chosen.
const (
	PickNewest Pick = "newest" // launched last
	PickOldest Pick = "oldest" // launched first
	PickAny    Pick = "any"    // any that is connected
)

// Machine is what a target resolves to.
type Machine struct {
	ID     string
	cached bool
	Known  *inventory.Instance // nil if AWS was not asked
}

// cachedFor is how long a name's resolution is cached: short enough that a
// second machine with the same name is noticed soon. A machine that does not
// answer is looked up again at once.
const cachedFor = 5 * time.Minute

// Resolve finds the machine: from the name itself, from the cache, or by asking
// AWS, which takes one round trip.
func (c *Client) Resolve(ctx context.Context) (Machine, error) {
	if c.Target.ID != "" && !c.Options.Start {
		return Machine{ID: c.Target.ID}, nil
	}
	if !c.Options.Start {
		var id string
		if age, ok := inventory.UserCache().Get(&id, c.cacheKey()...); ok && age < cachedFor && ServiceID.MatchString(id) {
			c.Options.Log.Debug("resolved", "target", c.Target.Text, "id", id, "asked", age.Round(time.Second).String()+" ago")
			return Machine{ID: id, cached: true}, nil
		}
	}
	return c.LookUp(ctx)
}

// LookUp asks AWS and caches the answer.
func (c *Client) LookUp(ctx context.Context) (Machine, error) {
	cache := inventory.UserCache()
	cache.Drop(c.cacheKey()...)
	if c.Target.Task != nil {
		id, err := c.FindTask(ctx)
		if err != nil {
			return Machine{}, err
		}
		cache.Put(id, c.cacheKey()...)
		return Machine{ID: id}, nil
	}
	if strings.HasPrefix(c.Target.ID, "ecs:") {
		return Machine{ID: c.Target.ID}, nil
	}
	list, err := c.Find(ctx)
	if err != nil {
		return Machine{}, err
	}
	m, err := c.choose(list)
	if err != nil {
		return Machine{}, err
	}
	c.Options.Log.Debug("resolved", "target", c.Target.Text, "id", m.ID, "state", m.State, "ping", m.Ping)
	if c.Target.ID == "" && m.State != "stopped" {
		cache.Put(m.ID, c.cacheKey()...)
		cache.Sweep()
	}
	return Machine{ID: m.ID, Known: m}, nil
}

// cacheKey returns the cache key of a name: the account, region, endpoint and
// profile, and what chooses among several machines.
func (c *Client) cacheKey() []string {
	return []string{"target", c.Account, c.Config.Region, c.Options.Profile, aws.ToString(c.Config.BaseEndpoint), string(c.Options.Pick), fmt.Sprint(c.Options.AnyCase), c.Target.Text}
}

// Find returns all machines with the name.
func (c *Client) Find(ctx context.Context) ([]inventory.Instance, error) {
	query := c.Target.query
	if c.Target.ID != "" {
		query = &inventory.Query{IDs: []string{c.Target.ID}}
	}
	anyCase := c.Options.AnyCase && query.Tag[0] != ""
	if anyCase {
		q := *query
		q.AnyCase = true
		query = &q
	}
	service := c.Options.Inventory(c.Config)
	list, err := service.Find(ctx, *query)
	if anyCase {
		list = filter(list, func(m *inventory.Instance) bool {
			return c.Target.names(m) || strings.EqualFold(m.Tags[query.Tag[0]], query.Tag[1])
		})
	}
	if err != nil || len(list) > 0 {
		return list, err
	}
	// Look for similar names, and for machines that the filters miss but a
	// person would accept.
	var all []inventory.Instance
	err = c.Options.List(ctx, service, func(page []inventory.Instance) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		c.Options.Log.Info("no list to suggest from", "err", err)
	}
	for i := range all {
		if c.Target.names(&all[i]) {
			list = append(list, all[i])
		}
	}
	if len(list) == 0 {
		return nil, &noMachineError{region: c.Config.Region, near: near(&c.Target, all)}
	}
	return list, nil
}

// choose selects one of the machines with the same name. If only one of them
// can be reached, because it is running and the others are not, choose selects
// that one.
func (c *Client) choose(list []inventory.Instance) (*inventory.Instance, error) {
	reachable := filter(list, func(m *inventory.Instance) bool { return m.State == "running" || m.State == "" && m.Online() })
	if len(reachable) > 0 {
		list = reachable
	}
	if len(list) == 1 {
		return &list[0], nil
	}
	launched := func(a, b inventory.Instance) int {
		return cmp.Or(a.Launched.Compare(b.Launched), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(list, launched)
	if online := filter(list, (*inventory.Instance).Online); c.Options.Pick != "" && len(online) > 0 {
		list = online
	}
	switch c.Options.Pick {
	case PickNewest:
		return &list[len(list)-1], nil
	case PickOldest, PickAny:
		return &list[0], nil
	}
	return nil, &SeveralError{list}
}

func filter(list []inventory.Instance, keep func(*inventory.Instance) bool) (kept []inventory.Instance) {
	for i := range list {
		if keep(&list[i]) {
			kept = append(kept, list[i])
		}
	}
	return kept
}

// Find returns the machines that o.Target names, with what is known of them,
// whether or not one could be chosen. If there are none, the error is
// [ErrNoMachine].
func Find(ctx context.Context, o Options) ([]inventory.Instance, error) {
	o.Fill()
	limited, _, stop := o.ConnectLimit(ctx)
	defer stop()
	c, err := o.Configure(ctx, limited)
	defer c.Warm.Drop()
	if err != nil {
		return nil, o.Explain(err)
	}
	if c.Target.Task != nil || strings.HasPrefix(c.Target.ID, "ecs:") {
		m, err := c.Resolve(limited)
		return []inventory.Instance{{ID: m.ID, Region: c.Config.Region}}, o.Explain(err)
	}
	list, err := c.Find(limited)
	return list, o.Explain(err)
}

// maxNear is how many names are suggested.
const maxNear = 5

// near returns the names that the user may have meant, best first.
func near(t *Target, all []inventory.Instance) (names []string) {
	if t.query == nil || t.query.Tag[0] != "Name" {
		return nil
	}
	want := strings.ToLower(t.query.Tag[1])
	best := make(map[string]int)
	for i := range all {
		name := strings.ToLower(all[i].Name)
		if name == "" || len(name) > 256 {
			continue
		}
		distance := levenshtein.ComputeDistance(want, name)
		switch {
		case distance <= max(1, len(want)/3):
		case len(want) >= 2 && strings.Contains(name, want):
			distance = len(want) // after all misspellings
		default:
			continue
		}
		best[all[i].Name] = distance
	}
	for name := range best {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(best[a], best[b]), cmp.Compare(a, b)) })
	return names[:min(len(names), maxNear)]
}
