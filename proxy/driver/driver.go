package driver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/stream"
)

// Errors that a driver's errors wrap.
var (
	// ErrTarget says that a target is malformed.
	ErrTarget = errors.New("not a target")

	// ErrNoMachine says that no machine has the name.
	ErrNoMachine = errors.New("there is no such machine")

	// ErrSeveral says that several machines have the name.
	ErrSeveral = errors.New("several machines have this name")

	// ErrConnectTimeout says that the time for connecting is over.
	ErrConnectTimeout = errors.New("timed out")
)

// TimedOut reports whether err is due to a limit of time.
func TimedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConnectTimeout)
}

// Driver is a cloud with a service that opens sessions to machines. All methods
// may be called concurrently.
type Driver interface {
	Words() Words

	// Parse returns what a target's text means. It does not ask the service. Its
	// error says, without the text, what is wrong with it.
	Parse(text string) (Target, error)

	// Names reports whether t names m where the service's filters are stricter
	// than people are: ssh lowercases host names, for example.
	Names(t Target, m *Machine) bool

	// Open reads the configuration and fetches credentials, until ctx ends. The
	// Service may fetch credentials again, until life ends.
	Open(life, ctx context.Context, a *Account) (Service, error)

	// CacheKey returns the settings that select a's account and region, as far as
	// they are known without reading the configuration.
	CacheKey(a *Account) []string

	// Explain says what an error of the driver, or of a stream that it opened,
	// means to someone who uses a.
	Explain(err error, a *Account) Meaning
}

// Service is a cloud's service in one account and region. All methods may be
// called concurrently.
type Service interface {
	Region() string

	// CacheKey distinguishes the account, the region and the endpoint.
	CacheKey() []string

	// Inventory returns a view of the machines. It calls missing once for each of
	// the cloud's actions that failed and whose results it does without.
	Inventory(missing func(action string, err error)) Inventory

	// OpenPort opens a session to a port of the machine with that id, or of a
	// host that the machine can reach. ctx applies to opening.
	OpenPort(ctx context.Context, id string, r PortRequest) (stream.Port, error)

	// OpenShell opens a session that runs a shell or a command on the machine
	// with that id. ctx applies to opening.
	OpenShell(ctx context.Context, id string, r ShellRequest) (*Shell, error)

	// Release closes connections that were opened in advance and have not been
	// used. The Service can still be used, and Release be called again.
	Release()

	// Close closes the Service's idle connections. Streams are not affected.
	Close()
}

// Inventory is a view of an account's machines in one region.
type Inventory interface {
	// Find returns the machines that t names, in any case if anyCase is set and
	// the service distinguishes cases. None is not an error.
	Find(ctx context.Context, t Target, anyCase bool) ([]Machine, error)

	// List calls page with all machines, page by page as they arrive. It stops if
	// page returns an error.
	List(ctx context.Context, page func([]Machine) error) error
}

// Words are a driver's own words in messages.
type Words struct {
	Cloud string // "AWS"
	Agent string // "SSM agent"
	ID    string // a machine's id, as an example
}

// Target is what a target's text means to a driver, which interprets Text again
// in Find.
type Target struct {
	Text   string // as given, without a region
	Region string // "" if the text names none
	ID     string // an id that the service accepts as is; "" for a name
	Name   string // if Text is a plain name, which may be misspelt
	Prefix string // the beginning of the ids of what Text names, if there is one
}

// Account selects an account and a region. Notice and Log must be set.
type Account struct {
	Profile string // of the cloud's configuration; "" means the default
	Region  string // "" means the configuration's

	Notice func(string) // called with one line at a time for the user
	Log    *slog.Logger
}

// Destination is a port of a machine, or of a host that the machine can reach.
type Destination struct {
	Host string // "" is the machine itself
	Port string
}

func (d Destination) String() string {
	if d.Host == "" {
		return net.JoinHostPort("localhost", d.Port)
	}
	return net.JoinHostPort(d.Host, d.Port)
}

// SessionOptions apply to all sessions. The callbacks must be set; they must not
// block, and must not call the stream.
type SessionOptions struct {
	Target   Target // by which the machine's id was found
	Document string // the user's choice, in the cloud's terms; "" means the driver's
	Reason   string // for the account's records; may be empty

	ResumeTimeout time.Duration // how long to try after an outage; 0 means no limit
	KeepAlive     time.Duration // between signs of life; 0 means none

	OnOutage  func(stream.Outage)
	OnSilence func(stream.Silence)
	OnRepeat  func(stream.Repeat)

	// Lingers is called if a session could not be ended.
	Lingers func(session string, err error)

	Log *slog.Logger
}

// PortRequest says what to open a port for.
type PortRequest struct {
	SessionOptions
	To  Destination
	SSH bool // for an ssh client, whose sessions a cloud may distinguish

	// Buffer limits what a multiplexed Port buffers for connections that are not
	// read, in bytes; 0 means the driver's default.
	Buffer int
}

// ShellRequest says what to run. Without a Command that is a shell.
type ShellRequest struct {
	SessionOptions
	Command    string
	Terminal   bool                // run the Command on a terminal; a shell always is
	Parameters map[string][]string // of the Document
}

// Shell is a stream to a shell or a command.
type Shell struct {
	stream.Shell

	// NoStatus says that the service never reports a command's exit status.
	NoStatus bool
}

// Meaning is what an error means.
type Meaning struct {
	Cause string // what went wrong, in the service's own words, safe and short
	Next  string // what the user can do about it; may be ""

	Answered      bool // it is the service's answer
	NotConnected  bool // the machine is not connected to the service
	Denied        bool // a permission is missing
	Busy          bool // the service accepts no more calls for now
	NoCredentials bool // there are no credentials

	End End // if it is the end of a stream
}

// End is how a stream ended, other than normally.
type End int

const (
	NoEnd     End = iota
	Ended         // by the service, or by the far side
	Silent        // the machine stopped answering
	Unresumed     // the connection was lost and could not be restored in time
)
