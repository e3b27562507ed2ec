package ssmproto

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Session is where a Conn gets its connections from: one session of the
// service. A Conn calls it from one goroutine at a time.
type Session interface {
	// Open starts the session. It is called once.
	Open(ctx context.Context) (Grant, error)

	// Resume asks for a new connection to the session. An error that wraps
	// ErrSessionEnded or was made by Permanent ends the Conn; after any other
	// Resume is called again, later.
	Resume(ctx context.Context) (Grant, error)

	// Terminate ends the session. It is called at most once, after Open has
	// succeeded, and not if the service has ended the session itself.
	Terminate(ctx context.Context) error
}

// Grant is what opens one WebSocket.
type Grant struct {
	URL    string      // ws or wss
	Token  string      // good for one connection
	Header http.Header // of the upgrade request: its signature
}

// Config holds what a Conn can be told. The zero value is good.
type Config struct {
	// Transport says how to reach the service: its Proxy, DialContext and
	// TLSClientConfig are used. nil means http.DefaultTransport's.
	Transport *http.Transport

	// Endpoint is where the data channel will probably be, as wss://HOST; ""
	// if that is not known. It is connected to while the session is opened,
	// which saves two round trips; if the grant names another host, nothing
	// is lost.
	Endpoint string

	// ResumeTimeout is for how long the Conn tries to overcome one outage
	// before it fails, be it of the link or of the agent, which then has not
	// acknowledged anything. 0 means DefaultResumeTimeout, less than 0 no limit.
	ResumeTimeout time.Duration

	// DataKey gets a 64-byte data key from KMS for a session that is to be
	// encrypted: in the clear, and encrypted for the agent. The challenge, if
	// not empty, belongs into the encryption context. nil refuses encryption.
	DataKey func(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error)

	// OnOutage, if not nil, is told how an outage goes: after each failed
	// attempt, and when it is over. It must not block or call the Conn.
	OnOutage func(Outage)

	// OnSilence, if not nil, is told that the agent has been silent for 15 s, though
	// the link is up, and that it has answered again. It must not block or call the
	// Conn.
	OnSilence func(Silence)

	// OnRepeat, if not nil, is told when so much was lost on the way here, with a
	// link as a rule, that the agent needs some seconds to repeat it. Until then
	// what has come after it waits. It must not block or call the Conn.
	OnRepeat func(Repeat)

	// ClientVersion is told to the agent; "" means DefaultClientVersion.
	ClientVersion string

	// Log gets what happens, without a payload, token or key. nil: nothing.
	Log *slog.Logger

	// Tests have no patience. 0 means the constants of these names.
	pingAfter, gapLimit, silenceAfter time.Duration

	// watchNetwork is the function of this name if nil, and ends with ctx.
	watchNetwork func(ctx context.Context, changed func())
}

// Outage describes a time without a link.
type Outage struct {
	Err    error         // what went wrong last
	Lasted time.Duration // since the link was lost
	Over   bool          // the link is back
}

// Repeat describes what the agent has to repeat.
type Repeat struct {
	Messages int           // how many are missing
	Takes    time.Duration // about how long that will take
}

// DefaultResumeTimeout is how long an outage may last.
const DefaultResumeTimeout = 10 * time.Minute

// Waits between attempts to resume: none before the first, then from firstWait
// doubling up to maxWait, which is short so that a network that returns is
// soon noticed.
const (
	firstWait = 50 * time.Millisecond
	maxWait   = 1500 * time.Millisecond
)
