package machine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/cache"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// List asks the service for all machines in o's account and region and calls
// page with each page as it arrives. It saves the complete list for [Known]. If
// part of the service cannot be asked, List reports that to o.Notice and lists
// what the rest returns. List stops if page returns an error.
func List(ctx context.Context, o Options, page func([]driver.Machine) error) error {
	o.Fill()
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	s, err := o.Driver.Open(ctx, limited, &o.Account)
	if err != nil {
		return o.Explain(err)
	}
	defer s.Release()
	// Connecting ends with the first page; a list may be long.
	return o.Explain(o.List(limited, s, func(list []driver.Machine) error {
		limit.Hold()
		return page(list)
	}))
}

// List is the function List with a Service that is open already.
func (o *Options) List(ctx context.Context, s driver.Service, page func([]driver.Machine) error) error {
	return o.list(ctx, s.Inventory(o.missing), page)
}

func (o *Options) list(ctx context.Context, from driver.Inventory, page func([]driver.Machine) error) error {
	var all []driver.Machine
	err := from.List(ctx, func(list []driver.Machine) error {
		all = append(all, list...)
		return page(list)
	})
	if err == nil {
		cache.User().Put(all, o.listKey()...)
	}
	return err
}

// Known returns the list that List last saved for o's account and region, and
// its age. It makes no calls and needs no credentials.
func Known(o Options) (list []driver.Machine, age time.Duration, ok bool) {
	age, ok = cache.User().Get(&list, o.listKey()...)
	return list, age, ok
}

// listKey returns the cache key of a list.
func (o *Options) listKey() []string {
	return append([]string{"list"}, o.Driver.CacheKey(&o.Account)...)
}

// missing reports that part of the service cannot be asked.
func (o *Options) missing(action string, err error) {
	m := o.meaning(err)
	text := fmt.Sprintf("%s failed: %s", action, m.Cause)
	if m.Denied {
		text = fmt.Sprintf("%s is not allowed", action)
		o.Log.Info("not allowed", "action", action, "err", err)
	}
	o.Notice(safetext.Printable(strings.TrimPrefix(o.Target+": ", ": ") + text + "; continuing without it"))
}

// Fill replaces unset callbacks and loggers with ones that do nothing.
func (o *Options) Fill() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = safetext.SafeLog(o.Log)
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
}
