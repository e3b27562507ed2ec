package doctor

import (
	"context"
	"fmt"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// plainChecks returns the checks for a driver that is no Examiner: they need no
// more than the interfaces that every driver implements.
func (d *doctor) plainChecks(life context.Context) []driver.Check {
	list := []driver.Check{{Name: "configuration", Patient: true, Look: func(ctx context.Context) Finding {
		s, err := d.o.Driver.Open(life, ctx, &d.o.Account)
		if err != nil {
			return d.Problem(StatusFailed, err)
		}
		d.Use(s)
		return ok("region %s", s.Region())
	}}}
	if d.o.Target == "" {
		return list
	}
	var found driver.Machine
	list = append(list,
		driver.Check{Name: "target", Needs: []string{"configuration"}, Look: func(ctx context.Context) (f Finding) {
			found, f = d.Target(ctx, false)
			return f
		}},
		driver.Check{Name: "agent", Needs: []string{"target"}, Look: func(context.Context) Finding { return d.agent(&found) }})
	if d.o.PushKey {
		list = append(list, driver.Check{Name: "push key", Needs: []string{"agent"}, Look: func(context.Context) Finding {
			return skipped("only a connection with --push-key can tell")
		}})
	}
	return append(list,
		driver.Check{Name: "session", Needs: []string{"agent"}, Look: func(ctx context.Context) Finding {
			if _, err := d.Open(ctx); err != nil {
				return d.Problem(StatusFailed, err)
			}
			return ok("open")
		}},
		driver.Check{Name: "port " + d.o.Port, Needs: []string{"session"}, Look: d.Port})
}

// agent checks whether the machine is connected to the service, if that is known.
func (d *doctor) agent(m *driver.Machine) Finding {
	switch {
	case m.Online() && m.Pinged.IsZero():
		return ok("online")
	case m.Online():
		return ok("online, called in %s ago", safetext.Ago(m.Pinged))
	case m.Ping == "":
		return skipped("only a session can tell")
	}
	f := Finding{Status: StatusFailed, Detail: fmt.Sprintf("not connected (%s)", m.Ping),
		Remedy: fmt.Sprintf("check that the machine is running and not overloaded, and that its %s is running and can reach the service", d.o.Driver.Words().Agent)}
	if !m.Pinged.IsZero() {
		f.Detail += fmt.Sprintf(": it last called in %s ago", safetext.Ago(m.Pinged))
	}
	return f
}
