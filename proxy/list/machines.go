package list

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/stdio"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// MachinesOptions say which machines to list, and how.
type MachinesOptions struct {
	machine.Options          // Target is not used
	Patterns        []string // of names and ids; none means all
	Regions         []string // none means the configuration's; "all" means all that the account may use
	ECS             bool     // list containers instead of machines
	Screen          table.Screen
}

// ErrPattern means that a pattern is malformed.
var ErrPattern = errors.New("not a pattern")

// AllRegions, in place of a region's name, means all regions that the account may
// use.
const AllRegions = "all"

// Machines shows machines or containers, page by page as they arrive. If some
// calls fail, it tells o.Notice, shows the rest and returns [machine.ErrTold].
func Machines(ctx context.Context, o MachinesOptions) error {
	o.Fill()
	l := lister{o: &o, table: table.Table{Screen: &o.Screen}}
	if o.ECS {
		l.table.Columns = containerColumns
	} else {
		l.table.Columns = machineColumns
	}
	if len(o.Regions) == 0 {
		l.table.Hidden = regionTitle
	}
	for _, text := range o.Patterns {
		p, err := parsePattern(text)
		if err != nil {
			return err
		}
		l.patterns = append(l.patterns, p)
	}
	if o.Region == "" && len(o.Regions) > 0 && o.Regions[0] != AllRegions {
		o.Region = o.Regions[0] // initially, if there is no other
	}
	s, err := open(ctx, &o.Options)
	if err != nil {
		return err
	}
	defer s.Release()
	o.Target = s.Region()
	here := []driver.Service{s}
	if len(o.Regions) > 0 {
		if here, err = o.inRegions(ctx, s); err != nil {
			return err
		}
	}
	return l.run(ctx, here)
}

// open opens the service for a command without a target. The caller must release
// it.
func open(ctx context.Context, o *machine.Options) (driver.Service, error) {
	o.Target = ""
	limited, _, stop := o.ConnectLimit(ctx)
	defer stop()
	s, err := o.Driver.Open(ctx, limited, &o.Account)
	return s, o.Explain(err)
}

// inRegions returns the service in each of the regions to list, without
// duplicates.
func (o *MachinesOptions) inRegions(ctx context.Context, s driver.Service) (list []driver.Service, err error) {
	regional, ok := s.(driver.Regional)
	if !ok {
		return nil, o.Explain(machine.ErrUnsupported)
	}
	var names []string
	for _, name := range o.Regions {
		if name != AllRegions {
			names = append(names, name)
			continue
		}
		limited, _, stop := o.ConnectLimit(ctx)
		all, err := regional.Regions(limited)
		if err != nil {
			err = cmp.Or(context.Cause(limited), err)
		}
		stop()
		if err != nil {
			return nil, o.Explain(err)
		}
		names = append(names, all...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		list = append(list, regional.In(name))
	}
	return list, nil
}

// lister shows the results of one or more regions.
type lister struct {
	o        *MachinesOptions
	patterns []pattern

	mu      sync.Mutex // guards table, matched and rows
	table   table.Table
	matched []bool // by pattern
	rows    int

	telling sync.Mutex // guards failed; separate because writing the table may block
	failed  bool
}

// run lists all regions concurrently.
func (l *lister) run(ctx context.Context, services []driver.Service) error {
	l.matched = make([]bool, len(l.patterns))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var asking sync.WaitGroup
	var regions []string
	for _, here := range services {
		regions = append(regions, here.Region())
		asking.Go(func() {
			o := l.o.Options
			o.Target = here.Region()
			if len(l.o.Regions) > 0 {
				o.Region = here.Region()
			}
			o.Notice = l.tell
			heard, news, stop := whileHeard(ctx, o.ConnectTimeout)
			defer stop()
			list := l.machines
			if l.o.ECS {
				list = l.containers
			}
			err := list(heard, &o, here, news)
			if stdio.Failed(err) {
				cancel(err)
			}
			if err != nil && ctx.Err() == nil {
				o.Notice(o.Explain(err).Error())
			}
		})
	}
	asking.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return l.end(regions)
}

// end reports what was not found.
func (l *lister) end(regions []string) error {
	place := strings.Join(regions, ", ")
	if len(regions) > 3 {
		place = fmt.Sprintf("%d regions", len(regions))
	}
	for i, p := range l.patterns {
		if !l.matched[i] {
			l.tell(safetext.Printable(fmt.Sprintf("nothing in %s matches %q", place, p.text)))
		}
	}
	switch {
	case l.failed:
		return machine.ErrTold
	case l.rows == 0:
		what := "machines"
		if l.o.ECS {
			what = "ECS tasks"
		}
		l.o.Notice(safetext.Printable(fmt.Sprintf("there are no %s in %s", what, place)))
	}
	return nil
}

// tell reports a reason why the list is incomplete.
func (l *lister) tell(text string) {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.failed = true
	l.o.Notice(text)
}

// machines lists the machines of a region.
func (l *lister) machines(ctx context.Context, o *machine.Options, s driver.Service, news func(func() error) error) error {
	return o.List(ctx, s, func(page []driver.Machine) error {
		return news(func() error {
			page := slices.Clone(page)
			slices.SortFunc(page, func(a, b driver.Machine) int {
				return cmp.Or(byName(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
			})
			l.mu.Lock()
			defer l.mu.Unlock()
			var rows []table.Row
			for i := range page {
				if m := &page[i]; l.matches(cmp.Or(m.Name, m.Computer), m.ID) {
					rows = append(rows, machineRow(m))
				}
			}
			return l.print(rows)
		})
	})
}

// byName compares names, ignoring case. Empty names sort last.
func byName(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a))
	}
	return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
}

func (l *lister) print(rows []table.Row) error {
	l.rows += len(rows)
	return l.table.Print(rows)
}

// matches reports whether any pattern matches, and records which ones do.
func (l *lister) matches(texts ...string) bool {
	some := len(l.patterns) == 0
	for i, p := range l.patterns {
		if p.matches(texts...) {
			l.matched[i], some = true, true
		}
	}
	return some
}

var machineColumns = []table.Column{
	{Title: "NAME", Flexible: true},
	{Title: "ID"},
	{Title: regionTitle, Leave: 6},
	{Title: "STATE", Leave: 5},
	{Title: "PING"},
	{Title: "LAST PING", Leave: 3},
	{Title: "AGENT", Leave: 1},
	{Title: "PLATFORM", Flexible: true, Leave: 2},
	{Title: "IP", Leave: 4},
}

const regionTitle = "REGION"

func machineRow(m *driver.Machine) table.Row {
	return table.Row{JSON: m, Cells: []table.Cell{
		{Text: cmp.Or(m.Name, m.Computer)},
		{Text: m.ID},
		{Text: m.Region},
		{Text: m.State, Colour: stateColours[m.State]},
		pingCell(m.Ping),
		{Text: passed(m.Pinged)},
		{Text: m.Agent},
		{Text: m.Platform},
		{Text: cmp.Or(m.PrivateIP, m.PublicIP)},
	}}
}

var stateColours = map[string]table.Colour{
	"running":       table.Green,
	"pending":       table.Yellow,
	"stopping":      table.Yellow,
	"shutting-down": table.Yellow,
	"stopped":       table.Dim,
	"terminated":    table.Dim,
}

// pingCell abbreviates Systems Manager's ping status.
func pingCell(ping string) table.Cell {
	switch ping {
	case "Online":
		return table.Cell{Text: "online", Colour: table.Green}
	case "ConnectionLost":
		return table.Cell{Text: "lost", Colour: table.Red}
	case "Inactive":
		return table.Cell{Text: "inactive", Colour: table.Yellow}
	}
	return table.Cell{Text: ping}
}

// passed returns how long ago t was, if t is known.
func passed(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return safetext.Ago(t) + " ago"
}

// pattern is a glob if it contains glob characters, and otherwise a substring of
// a name. Case is ignored.
type pattern struct {
	text string
	glob string // "" if it is a substring
}

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	if !strings.ContainsAny(text, `*?[`) {
		return p, nil
	}
	p.glob = globText(text)
	if _, err := path.Match(p.glob, ""); err != nil {
		return p, fmt.Errorf("%q is %w: a [ without a ]", text, ErrPattern)
	}
	return p, nil
}

// globText replaces slashes, which path.Match treats as separators.
func globText(text string) string { return strings.ReplaceAll(strings.ToLower(text), "/", "\x00") }

func (p pattern) matches(texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		if p.glob == "" {
			return strings.Contains(strings.ToLower(text), strings.ToLower(p.text))
		}
		ok, _ := path.Match(p.glob, globText(text))
		return ok
	})
}

// whileHeard returns a context that ends when there has been no news for d (0
// means never). Time spent handling news does not count, since a pager may block
// it.
func whileHeard(ctx context.Context, d time.Duration) (heard context.Context, news func(func() error) error, stop func()) {
	heard, cancel := context.WithCancelCause(ctx)
	if d == 0 {
		return heard, func(deal func() error) error { return deal() }, func() { cancel(nil) }
	}
	timer := time.AfterFunc(d, func() { cancel(fmt.Errorf("%w after %v", driver.ErrConnectTimeout, d)) })
	var mu sync.Mutex
	news = func(deal func() error) error {
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
		defer timer.Reset(d)
		return deal()
	}
	return heard, news, func() {
		timer.Stop()
		cancel(nil)
	}
}
