package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

var _ driver.Doctor = (*doctor)(nil)

// Use implements driver.Doctor.
func (d *doctor) Use(s driver.Service) { d.client.Service = s }

// Target implements driver.Doctor. It resolves the target as "ssmpipe proxy" does.
func (d *doctor) Target(ctx context.Context, partly bool) (driver.Machine, Finding) {
	c := d.client
	m, err := c.LookUp(ctx)
	var several *machine.SeveralError
	switch {
	case errors.As(err, &several):
		return driver.Machine{}, d.Problem(StatusFailed, fmt.Errorf("%w: %s", err, strings.Join(several.Lines(), "; ")))
	case err != nil && c.Target.ID != "" && (d.denied(err) || errors.Is(err, driver.ErrNoMachine) && partly):
		c.At = machine.Machine{ID: c.Target.ID} // an id alone is enough for a session
		return driver.Machine{ID: c.Target.ID}, Finding{Status: StatusWarning, Detail: c.Target.ID + ", about which nothing is known"}
	case err != nil:
		return driver.Machine{}, d.Problem(StatusFailed, err)
	}
	c.At = m
	found := driver.Machine{ID: m.ID}
	if m.Known != nil {
		found = *m.Known
	}
	return found, ok("%s", describe(found))
}

// denied reports whether err is about a missing permission.
func (d *doctor) denied(err error) bool { return d.o.Driver.Explain(err, &d.o.Account).Denied }

// describe describes a machine in a few words.
func describe(m driver.Machine) string {
	var words []string
	for _, word := range []string{m.Name, m.PrivateIP, m.Type, m.Platform} {
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return m.ID
	}
	return m.ID + " (" + strings.Join(words, ", ") + ")"
}

// Open implements driver.Doctor.
func (d *doctor) Open(ctx context.Context) (stream.Port, error) {
	var err error
	d.session, err = d.client.Open(ctx, machine.Destination{Port: d.o.Port}, true)
	return d.session, err
}

// Problem implements driver.Doctor.
func (d *doctor) Problem(s Status, err error) Finding {
	f := Finding{Status: s, Detail: d.o.Cause(err), Remedy: d.o.Next(err)}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Detail = "no answer in time"
	}
	return f
}

// bad is Problem with another remedy.
func (d *doctor) bad(s Status, err error, remedy string) Finding {
	f := d.Problem(s, err)
	f.Remedy = remedy
	return f
}
