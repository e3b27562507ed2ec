package machine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
	"github.com/ssmpipe/ssmpipe/proxy/aws/inventory"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// List asks AWS for all machines in o's profile and region and calls page with
// each page as it arrives: EC2 instances first, managed nodes last. It saves
// the complete list for [Known]. If one of the two services cannot be asked,
// List reports that to o.Notice and lists what the other returns. List stops if
// page returns an error.
func List(ctx context.Context, o Options, page func([]inventory.Instance) error) error {
	o.Fill()
	limited, limit, stop := o.ConnectLimit(ctx)
	defer stop()
	cfg, _, warm, err := awsapi.Load(ctx, limited, o.Account())
	defer warm.Drop()
	if err != nil {
		return o.Explain(err)
	}
	// Connecting ends with the first page; a list may be long.
	return o.Explain(o.List(limited, o.Inventory(cfg), func(list []inventory.Instance) error {
		limit.Hold()
		return page(list)
	}))
}

// List is the function List with a service that may have been asked before.
func (o *Options) List(ctx context.Context, service *inventory.Service, page func([]inventory.Instance) error) error {
	var all []inventory.Instance
	err := service.List(ctx, func(list []inventory.Instance) error {
		all = append(all, list...)
		return page(list)
	})
	if err == nil {
		inventory.UserCache().Put(all, o.listKey()...)
	}
	return err
}

// Known returns the list that List last saved for o's profile and region, and
// its age. It makes no calls and needs no credentials.
func Known(o Options) (list []inventory.Instance, age time.Duration, ok bool) {
	age, ok = inventory.UserCache().Get(&list, o.listKey()...)
	return list, age, ok
}

// listKey returns the cache key of a list: the settings that select account and
// region, as far as they are known without reading the configuration.
func (o *Options) listKey() []string {
	key := []string{"list",
		cmp.Or(o.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE")),
		cmp.Or(o.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"} {
		key = append(key, os.Getenv(name))
	}
	return key
}

// Inventory returns the inventory of cfg's region. It reports what cannot be
// asked as a notice.
func (o *Options) Inventory(cfg aws.Config) *inventory.Service {
	return inventory.New(cfg, func(action string, err error) {
		text := fmt.Sprintf("%s failed: %s", action, Cause(err))
		if inventory.Denied(err) {
			text = fmt.Sprintf("%s is not allowed", action)
			o.Log.Info("not allowed", "action", action, "err", err)
		}
		o.Notice(safetext.Printable(strings.TrimPrefix(o.Target+": ", ": ") + text + "; going on without"))
	})
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
