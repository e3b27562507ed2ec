package list

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

// SessionsOptions say which sessions to list or end.
type SessionsOptions struct {
	machine.Options          // Target is not used
	Which           []string // targets and session ids; none means all
	All             bool     // of all users, not only one's own
	Terminate       bool     // end the sessions
	Screen          table.Screen
}

var sessionColumns = []table.Column{
	{Title: "ID"},
	{Title: "TARGET", Leave: 5},
	{Title: "NAME", Flexible: true, Leave: 6},
	{Title: ownerTitle, Flexible: true, Leave: 7},
	{Title: "DOCUMENT", Flexible: true, Leave: 1},
	{Title: "STATUS", Leave: 3},
	{Title: "STARTED", Leave: 4},
	{Title: "REASON", Flexible: true, Leave: 2},
}

const ownerTitle = "OWNER"

// Sessions shows the active sessions, newest first, or ends them and shows those
// that it ended. If some sessions cannot be ended, Sessions tells
// o.Notice, ends the rest and returns [machine.ErrTold].
func Sessions(ctx context.Context, o SessionsOptions) error {
	o.Fill()
	var which []driver.Target
	for _, text := range o.Which {
		t, err := o.ParseTarget(text)
		if err != nil {
			return err
		}
		if t.Region != "" {
			if o.Region != "" && o.Region != t.Region {
				return fmt.Errorf("%q is %w in %s: give one region at a time", text, driver.ErrTarget, o.Region)
			}
			o.Region = t.Region
		}
		which = append(which, t)
	}
	s, err := open(ctx, &o.Options)
	if err != nil {
		return err
	}
	defer s.Release()
	from, ok := s.(driver.SessionLister)
	if !ok {
		return o.Explain(machine.ErrUnsupported)
	}
	o.Target = s.Region()
	names := make(map[string]string)
	known, _, _ := machine.Known(o.Options)
	for i := range known {
		names[known[i].ID] = known[i].Name
	}
	l := &sessionLister{o: &o, service: s, from: from, names: names}
	l.table = table.Table{Screen: &o.Screen, Columns: sessionColumns}
	if !o.All {
		l.table.Hidden = ownerTitle
	}
	if err := l.list(ctx, which); err != nil {
		return err
	}
	return l.end()
}

type sessionLister struct {
	o       *SessionsOptions
	service driver.Service
	from    driver.SessionLister
	names   map[string]string // by target, where known
	table   table.Table
	shown   int
	failed  bool // the user has been told, or end will do so
	told    bool
}

func (l *sessionLister) list(ctx context.Context, which []driver.Target) error {
	heard, news, stop := whileHeard(ctx, l.o.ConnectTimeout)
	defer stop()
	if len(which) == 0 && !l.o.Terminate {
		return l.active(heard, "", func(page []driver.Session) error {
			return news(func() error { return l.show(ctx, page) })
		})
	}
	// Read all pages first: ending a session may shift the later pages.
	only := ""
	if len(which) == 1 {
		only = which[0].ID
	}
	var all []driver.Session
	err := l.active(heard, only, func(page []driver.Session) error {
		return news(func() error {
			all = append(all, page...)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if len(which) == 0 || len(all) == 0 {
		l.failed = len(which) > 0
		return l.show(ctx, all)
	}
	chosen := make(map[string]bool)
	for i := range which {
		if err := l.choose(heard, &which[i], all, chosen); err != nil {
			at := l.o.Options
			at.Target = l.o.Which[i]
			l.tell(at.Explain(err).Error())
		}
	}
	return l.show(ctx, slices.DeleteFunc(all, func(s driver.Session) bool { return !chosen[s.ID] }))
}

var errNoSession = errors.New("there is no active session to it")

// choose adds the sessions that t selects: the one with that id, or all to a
// machine. It resolves names afresh, not from the cache, because the sessions may
// be about to be ended.
func (l *sessionLister) choose(ctx context.Context, t *driver.Target, all []driver.Session, chosen map[string]bool) error {
	add := func(is func(s *driver.Session) bool) error {
		err := errNoSession
		for i := range all {
			if is(&all[i]) {
				chosen[all[i].ID], err = true, nil
			}
		}
		return err
	}
	err := add(func(s *driver.Session) bool { return s.ID == t.Text || s.Target == t.Text })
	if err == nil || t.ID != "" {
		return err
	}
	if t.Prefix != "" {
		return add(func(s *driver.Session) bool { return strings.HasPrefix(s.Target, t.Prefix) })
	}
	c := &machine.Client{Options: &l.o.Options, Target: *t, Service: l.service}
	machines, err := c.Find(ctx)
	var none *machine.NoMachineError
	if errors.As(err, &none) {
		return fmt.Errorf("no active session has this id, and %w", err)
	}
	if err != nil {
		return err
	}
	names := make(map[string]string)
	for i := range machines {
		names[machines[i].ID] = machines[i].Name
	}
	maps.Copy(l.names, names)
	return add(func(s *driver.Session) bool {
		_, ok := names[s.Target]
		return ok
	})
}

// active calls page for each page of active sessions, only those to the target
// if one is given.
func (l *sessionLister) active(ctx context.Context, to string, page func([]driver.Session) error) error {
	var pageErr error
	err := l.from.Sessions(ctx, driver.SessionQuery{Mine: !l.o.All, Target: to}, func(list []driver.Session) error {
		pageErr = page(list)
		return pageErr
	})
	if pageErr != nil {
		return pageErr
	}
	return l.o.Explain(err)
}

// show shows sessions, or ends them and shows those that have ended.
func (l *sessionLister) show(ctx context.Context, list []driver.Session) error {
	var rows []table.Row
	for i := range list {
		s := &list[i]
		s.Name = l.names[s.Target]
		l.shown++
		if !l.o.Terminate {
			rows = append(rows, sessionRow(s))
			continue
		}
		if err := l.terminate(ctx, s); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			at := l.o.Options
			at.Target = s.ID
			l.tell(at.Explain(err).Error())
			continue
		}
		s.Ended = true
		if err := l.table.Print([]table.Row{sessionRow(s)}); err != nil {
			return err
		}
	}
	return l.table.Print(rows)
}

// terminate ends a session. It is no error if the session has already ended.
func (l *sessionLister) terminate(ctx context.Context, s *driver.Session) error {
	if s.Foreign {
		return fmt.Errorf("it belongs to %s; --all ends other people's sessions too", s.Owner)
	}
	limited, _, stop := l.o.ConnectLimit(ctx)
	defer stop()
	return l.from.EndSession(limited, s.ID)
}

func sessionRow(s *driver.Session) table.Row {
	return table.Row{JSON: s, Cells: []table.Cell{
		{Text: s.ID},
		{Text: s.Target},
		{Text: s.Name},
		{Text: s.Owner},
		{Text: s.Document},
		{Text: strings.ToLower(s.Status)},
		{Text: passed(s.Started)},
		{Text: s.Reason},
	}}
}

func (l *sessionLister) tell(text string) {
	l.failed, l.told = true, true
	l.o.Notice(safetext.Printable(text))
}

func (l *sessionLister) end() error {
	whose := "you have"
	if l.o.All {
		whose = "there are"
	}
	if l.shown == 0 && !l.told {
		l.o.Notice(safetext.Printable(fmt.Sprintf("%s no active sessions in %s", whose, l.service.Region())))
	}
	if l.failed {
		return machine.ErrTold
	}
	return nil
}
