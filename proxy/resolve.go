package proxy

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
	// ErrNoMachine says that nothing has the name.
	ErrNoMachine = errors.New("there is no such machine")

	// ErrSeveral says that several machines have the name.
	ErrSeveral = errors.New("several machines have this name")
)

// Pick is how one of several machines of the same name is chosen.
type Pick string

// The ways to choose. The zero value does not.
const (
	PickNewest Pick = "newest" // launched last
	PickOldest Pick = "oldest" // launched first
	PickAny    Pick = "any"    // whichever is connected
)

// machine is what a target leads to.
type machine struct {
	id     string
	cached bool
	known  *inventory.Instance // nil if nobody was asked
}

// cachedFor is how long a name is taken to lead where it led: short enough
// that a second machine of the name is noticed soon. What does not answer is
// looked up again at once.
const cachedFor = 5 * time.Minute

// resolve finds the machine: from the name itself, from the cache, or by
// asking. Asking takes one round trip.
func (c *client) resolve(ctx context.Context) (machine, error) {
	if c.t.id != "" && !c.o.Start {
		return machine{id: c.t.id}, nil
	}
	if !c.o.Start {
		var id string
		if age, ok := inventory.UserCache().Get(&id, c.cacheKey()...); ok && age < cachedFor && serviceID.MatchString(id) {
			c.o.Log.Debug("resolved", "target", c.t.text, "id", id, "asked", age.Round(time.Second).String()+" ago")
			return machine{id: id, cached: true}, nil
		}
	}
	return c.lookUp(ctx)
}

// lookUp asks, and keeps the answer.
func (c *client) lookUp(ctx context.Context) (machine, error) {
	cache := inventory.UserCache()
	cache.Drop(c.cacheKey()...)
	if c.t.task != nil {
		id, err := c.findTask(ctx)
		if err != nil {
			return machine{}, err
		}
		cache.Put(id, c.cacheKey()...)
		return machine{id: id}, nil
	}
	if strings.HasPrefix(c.t.id, "ecs:") {
		return machine{id: c.t.id}, nil
	}
	list, err := c.find(ctx)
	if err != nil {
		return machine{}, err
	}
	m, err := c.choose(list)
	if err != nil {
		return machine{}, err
	}
	c.o.Log.Debug("resolved", "target", c.t.text, "id", m.ID, "state", m.State, "ping", m.Ping)
	if c.t.id == "" && m.State != "stopped" {
		cache.Put(m.ID, c.cacheKey()...)
		cache.Sweep()
	}
	return machine{id: m.ID, known: m}, nil
}

// cacheKey is what a name is kept under: account, region and profile, where
// they are served, and what chooses among several.
func (c *client) cacheKey() []string {
	return []string{"target", c.account, c.cfg.Region, c.o.Profile, aws.ToString(c.cfg.BaseEndpoint), string(c.o.Pick), fmt.Sprint(c.o.AnyCase), c.t.text}
}

// find returns all machines of the name.
func (c *client) find(ctx context.Context) ([]inventory.Instance, error) {
	query := c.t.query
	if c.t.id != "" {
		query = &inventory.Query{IDs: []string{c.t.id}}
	}
	anyCase := c.o.AnyCase && query.Tag[0] != ""
	if anyCase {
		q := *query
		q.AnyCase = true
		query = &q
	}
	service := c.o.service(c.cfg)
	list, err := service.Find(ctx, *query)
	if anyCase {
		list = filter(list, func(m *inventory.Instance) bool {
			return c.t.names(m) || strings.EqualFold(m.Tags[query.Tag[0]], query.Tag[1])
		})
	}
	if err != nil || len(list) > 0 {
		return list, err
	}
	// What is close? And what did the filters not find that people would?
	var all []inventory.Instance
	err = c.o.list(ctx, service, func(page []inventory.Instance) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		c.o.Log.Info("no list to suggest from", "err", err)
	}
	for i := range all {
		if c.t.names(&all[i]) {
			list = append(list, all[i])
		}
	}
	if len(list) == 0 {
		return nil, &noMachineError{region: c.cfg.Region, near: near(&c.t, all)}
	}
	return list, nil
}

// choose chooses among machines of one name. If only one of them can be
// reached, because it runs and the others do not, it is that.
func (c *client) choose(list []inventory.Instance) (*inventory.Instance, error) {
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
	if online := filter(list, (*inventory.Instance).Online); c.o.Pick != "" && len(online) > 0 {
		list = online
	}
	switch c.o.Pick {
	case PickNewest:
		return &list[len(list)-1], nil
	case PickOldest, PickAny:
		return &list[0], nil
	}
	return nil, &severalError{list}
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
// whether or not one could be chosen. None is [ErrNoMachine].
func Find(ctx context.Context, o Options) ([]inventory.Instance, error) {
	o.fill()
	limited, _, stop := o.connectLimit(ctx)
	defer stop()
	c, err := o.configure(ctx, limited)
	defer c.warm.Drop()
	if err != nil {
		return nil, o.explain(err)
	}
	if c.t.task != nil || strings.HasPrefix(c.t.id, "ecs:") {
		m, err := c.resolve(limited)
		return []inventory.Instance{{ID: m.id, Region: c.cfg.Region}}, o.explain(err)
	}
	list, err := c.find(limited)
	return list, o.explain(err)
}

// maxNear is how many names are suggested.
const maxNear = 5

// near returns what the user may have meant, best first.
func near(t *target, all []inventory.Instance) (names []string) {
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
			distance = len(want) // behind all that are mistyped
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
