package machine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"github.com/ssmpipe/ssmpipe/proxy/cache"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
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
	Known  *driver.Machine // nil if nothing is known
}

// cachedFor is how long a name's resolution is cached: short enough that a
// second machine with the same name is noticed soon. A machine that does not
// answer is looked up again at once.
const cachedFor = 5 * time.Minute

// Resolve finds the machine: from the name itself, from the cache, or by asking
// the service, which takes one round trip.
func (c *Client) Resolve(ctx context.Context) (Machine, error) {
	if c.Target.ID != "" && !c.Options.Start {
		return Machine{ID: c.Target.ID}, nil
	}
	if !c.Options.Start {
		var id string
		if age, ok := cache.User().Get(&id, c.cacheKey()...); ok && age < cachedFor && c.Options.IsID(id) {
			c.Options.Log.Debug("resolved", "target", c.Target.Text, "id", id, "asked", age.Round(time.Second).String()+" ago")
			return Machine{ID: id, cached: true}, nil
		}
	}
	return c.LookUp(ctx)
}

// LookUp asks the service and caches the answer.
func (c *Client) LookUp(ctx context.Context) (Machine, error) {
	cache.User().Drop(c.cacheKey()...)
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
		cache.User().Put(m.ID, c.cacheKey()...)
		cache.User().Sweep()
	}
	if m.State == "" && m.Ping == "" {
		return Machine{ID: m.ID}, nil
	}
	return Machine{ID: m.ID, Known: m}, nil
}

// IsID reports whether text is an id that the service accepts as is.
func (o *Options) IsID(text string) bool {
	t, err := o.Driver.Parse(text)
	return err == nil && t.ID == text
}

// Find returns all machines with the name.
func (c *Client) Find(ctx context.Context) ([]driver.Machine, error) {
	service := c.Service.Inventory(c.Options.missing)
	list, err := service.Find(ctx, c.Target, c.Options.AnyCase)
	if err != nil || len(list) > 0 {
		return list, err
	}
	// Look for similar names, and for machines that the filters miss but a
	// person would accept.
	var all []driver.Machine
	err = c.Options.list(ctx, service, func(page []driver.Machine) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		c.Options.Log.Info("no list to suggest from", "err", err)
	}
	for i := range all {
		if c.Options.Driver.Names(c.Target, &all[i]) {
			list = append(list, all[i])
		}
	}
	if len(list) == 0 {
		return nil, &NoMachineError{region: c.Service.Region(), near: near(c.Target.Name, all)}
	}
	return list, nil
}

// choose selects one of the machines with the same name. If only one of them
// can be reached, because it is running and the others are not, choose selects
// that one.
func (c *Client) choose(list []driver.Machine) (*driver.Machine, error) {
	reachable := filter(list, func(m *driver.Machine) bool { return m.State == "running" || m.State == "" && m.Online() })
	if len(reachable) > 0 {
		list = reachable
	}
	if len(list) == 1 {
		return &list[0], nil
	}
	launched := func(a, b driver.Machine) int {
		return cmp.Or(a.Launched.Compare(b.Launched), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(list, launched)
	if online := filter(list, (*driver.Machine).Online); c.Options.Pick != "" && len(online) > 0 {
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

func filter(list []driver.Machine, keep func(*driver.Machine) bool) (kept []driver.Machine) {
	for i := range list {
		if keep(&list[i]) {
			kept = append(kept, list[i])
		}
	}
	return kept
}

// maxNear is how many names are suggested.
const maxNear = 5

// near returns the names that the user may have meant by name, best first.
func near(name string, all []driver.Machine) (names []string) {
	if name == "" {
		return nil
	}
	want := strings.ToLower(name)
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
