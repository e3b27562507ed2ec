package list

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awsapi"
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

// activeSession is an active session, in the form of the JSON output.
type activeSession struct {
	ID       string    `json:"id"`
	Target   string    `json:"target"`
	Name     string    `json:"name,omitempty"` // of the target, if known
	Region   string    `json:"region"`
	Owner    string    `json:"owner,omitempty"`
	Document string    `json:"document,omitempty"`
	Status   string    `json:"status,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Ended    bool      `json:"ended,omitempty"` // by us, now
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
// that it ended. The user's own sessions are those whose owner is the ARN that STS
// returns for the credentials. If some sessions cannot be ended, Sessions tells
// o.Notice, ends the rest and returns [machine.ErrTold].
func Sessions(ctx context.Context, o SessionsOptions) error {
	o.Fill()
	var which []machine.Target
	for _, text := range o.Which {
		t, err := machine.ParseTarget(text, "")
		if err != nil {
			return err
		}
		if t.Region != "" {
			if o.Region != "" && o.Region != t.Region {
				return fmt.Errorf("%q is %w of %s: give one region at a time", text, machine.ErrTarget, o.Region)
			}
			o.Region = t.Region
		}
		which = append(which, t)
	}
	cfg, stop, err := load(ctx, &o.Options)
	defer stop()
	if err != nil {
		return err
	}
	o.Target = cfg.Region
	names := make(map[string]string)
	known, _, _ := machine.Known(o.Options)
	for i := range known {
		names[known[i].ID] = known[i].Name
	}
	l := &sessionLister{o: &o, cfg: cfg, names: names}
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
	o      *SessionsOptions
	cfg    aws.Config
	names  map[string]string // by target, where known
	owner  string            // "" means all users
	table  table.Table
	shown  int
	failed bool // the user has been told, or end will do so
	told   bool
}

func (l *sessionLister) list(ctx context.Context, which []machine.Target) error {
	heard, news, stop := whileHeard(ctx, l.o.ConnectTimeout)
	defer stop()
	if !l.o.All {
		me, err := sts.NewFromConfig(l.cfg).GetCallerIdentity(heard, &sts.GetCallerIdentityInput{})
		if err != nil {
			return l.o.Explain(cmp.Or(context.Cause(heard), err))
		}
		l.owner = aws.ToString(me.Arn)
	}
	if len(which) == 0 && !l.o.Terminate {
		return l.active(heard, "", func(page []activeSession) error {
			return news(func() error { return l.show(ctx, page) })
		})
	}
	// Read all pages first: ending a session may shift the later pages.
	only := ""
	if len(which) == 1 {
		only = which[0].ID
	}
	var all []activeSession
	err := l.active(heard, only, func(page []activeSession) error {
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
	return l.show(ctx, slices.DeleteFunc(all, func(s activeSession) bool { return !chosen[s.ID] }))
}

var errNoSession = errors.New("there is no active session to it")

// choose adds the sessions that t selects: the one with that id, or all to a
// machine. It resolves names afresh, not from the cache, because the sessions may
// be about to be ended.
func (l *sessionLister) choose(ctx context.Context, t *machine.Target, all []activeSession, chosen map[string]bool) error {
	add := func(is func(s *activeSession) bool) error {
		err := errNoSession
		for i := range all {
			if is(&all[i]) {
				chosen[all[i].ID], err = true, nil
			}
		}
		return err
	}
	err := add(func(s *activeSession) bool { return s.ID == t.Text || s.Target == t.Text })
	if err == nil || t.ID != "" {
		return err
	}
	c := &machine.Client{Options: &l.o.Options, Target: *t, Config: l.cfg}
	if t.Task != nil && t.Task.Container == "" {
		prefix := fmt.Sprintf("ecs:%s_%s_", machine.LastPart(t.Task.Cluster), machine.LastPart(t.Task.ID))
		return add(func(s *activeSession) bool { return strings.HasPrefix(s.Target, prefix) })
	}
	if t.Task != nil {
		id, err := c.FindTask(ctx)
		if err != nil {
			return err
		}
		return add(func(s *activeSession) bool { return s.Target == id })
	}
	machines, err := c.Find(ctx)
	if errors.Is(err, machine.ErrNoMachine) {
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
	return add(func(s *activeSession) bool {
		_, ok := names[s.Target]
		return ok
	})
}

// active calls page for each page of active sessions, only those to the target
// if one is given.
func (l *sessionLister) active(ctx context.Context, to string, page func([]activeSession) error) error {
	filter := func(key ssmtypes.SessionFilterKey, value string) (f []ssmtypes.SessionFilter) {
		if value != "" {
			f = append(f, ssmtypes.SessionFilter{Key: key, Value: &value})
		}
		return f
	}
	request := &ssm.DescribeSessionsInput{
		State:      ssmtypes.SessionStateActive,
		MaxResults: aws.Int32(200),
		Filters:    append(filter(ssmtypes.SessionFilterKeyOwner, l.owner), filter(ssmtypes.SessionFilterKeyTargetId, to)...),
	}
	for {
		out, err := ssm.NewFromConfig(l.cfg).DescribeSessions(ctx, request)
		if err != nil {
			return l.o.Explain(awsapi.CauseOf(ctx, err))
		}
		var list []activeSession
		for _, s := range out.Sessions {
			list = append(list, activeSession{
				ID:       aws.ToString(s.SessionId),
				Target:   aws.ToString(s.Target),
				Region:   l.cfg.Region,
				Owner:    aws.ToString(s.Owner),
				Document: aws.ToString(s.DocumentName),
				Status:   string(s.Status),
				Started:  aws.ToTime(s.StartDate),
				Reason:   aws.ToString(s.Reason),
			})
		}
		slices.SortStableFunc(list, func(a, b activeSession) int { return b.Started.Compare(a.Started) })
		if err := page(list); err != nil {
			return err
		}
		if request.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			return nil
		}
	}
}

// show shows sessions, or ends them and shows those that have ended.
func (l *sessionLister) show(ctx context.Context, list []activeSession) error {
	var rows []table.Row
	for i := range list {
		s := &list[i]
		s.Name = l.names[s.Target]
		l.shown++
		if !l.o.Terminate {
			rows = append(rows, s.row())
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
		if err := l.table.Print([]table.Row{s.row()}); err != nil {
			return err
		}
	}
	return l.table.Print(rows)
}

// terminate ends a session. It is no error if the session has already ended.
func (l *sessionLister) terminate(ctx context.Context, s *activeSession) error {
	if l.owner != "" && !sameOwner(s.Owner, l.owner) {
		return fmt.Errorf("it is %s's; --all ends what is not one's own", s.Owner)
	}
	limited, _, stop := l.o.ConnectLimit(ctx)
	defer stop()
	_, err := ssm.NewFromConfig(l.cfg).TerminateSession(limited, &ssm.TerminateSessionInput{SessionId: &s.ID})
	if machine.IsCode(err, "DoesNotExistException") {
		return nil
	}
	return err
}

// sameOwner compares ARNs, which the service has been seen to write without the
// prefix "arn:".
func sameOwner(a, b string) bool {
	return strings.TrimPrefix(a, "arn:") == strings.TrimPrefix(b, "arn:")
}

func (s *activeSession) row() table.Row {
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
		l.o.Notice(safetext.Printable(fmt.Sprintf("%s no active sessions in %s", whose, l.cfg.Region)))
	}
	if l.failed {
		return machine.ErrTold
	}
	return nil
}
