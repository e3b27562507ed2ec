package driver

import (
	"context"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/keys"
)

// A Starter starts stopped machines.
type Starter interface {
	// Start starts a machine. It reports false if that is not possible yet, as
	// while the machine is still stopping.
	Start(ctx context.Context, id string) (started bool, err error)
}

// A KeyPusher makes an SSH key known to a machine for keys.Time.
type KeyPusher interface {
	// CanPush returns an error if the machine with that id takes no key that way.
	CanPush(id string, way keys.Way) error

	// PushKey makes the public key known to a user of the machine, and returns
	// when it is.
	PushKey(ctx context.Context, id string, k Key) error
}

// Key is an SSH key to push.
type Key struct {
	Way    keys.Way
	User   string
	Public string // as a line of an authorized_keys file
}

// A Regional service can be used in other regions with the same credentials.
type Regional interface {
	// Regions returns the names of the regions that the account may use.
	Regions(ctx context.Context) ([]string, error)

	// In returns the service in a region. It shares the connections of the one
	// that it is made from, which alone is to be closed.
	In(region string) Service
}

// A SessionLister lists and ends the sessions of an account.
type SessionLister interface {
	// Sessions calls page with the active sessions, page by page.
	Sessions(ctx context.Context, q SessionQuery, page func([]Session) error) error

	// EndSession ends a session. It is not an error if it has already ended.
	EndSession(ctx context.Context, id string) error
}

// SessionQuery selects sessions. The zero value selects all.
type SessionQuery struct {
	Mine   bool   // only those of the user whose credentials these are
	Target string // only those to the machine with that id; "" means all
}

// Session is an active session.
type Session struct {
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

	Foreign bool `json:"-"` // not the user's own, although only those were asked for
}

// A ContainerLister lists containers that sessions can be opened to.
type ContainerLister interface {
	// Containers calls page with all containers, page by page. It calls failed if
	// those of one cluster cannot be listed, and continues with the others.
	Containers(ctx context.Context, failed func(cluster string, err error), page func([]Container) error) error
}

// Container is a container.
type Container struct {
	Target  string    `json:"target"` // ecs:CLUSTER/TASK/CONTAINER
	Region  string    `json:"region"`
	Cluster string    `json:"cluster"`
	Task    string    `json:"task"`
	Name    string    `json:"container"`
	Group   string    `json:"group,omitempty"` // as service:web
	Status  string    `json:"status,omitempty"`
	Exec    bool      `json:"exec_enabled"`
	Agent   string    `json:"exec_agent,omitempty"` // its status
	Runtime string    `json:"runtime_id,omitempty"`
	IP      string    `json:"private_ip,omitempty"`
	Started time.Time `json:"started,omitzero"`
}

// An Adviser knows what keeps machines from connecting to the service.
type Adviser interface {
	// Advise returns what to do about a running machine whose agent has never
	// called in, or "".
	Advise(m *Machine) string
}
