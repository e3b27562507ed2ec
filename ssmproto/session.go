package ssmproto

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// A Session gives a Conn its connections: it is one session of the service. A
// Conn calls it from one goroutine at a time.
type Session interface {
	// Open starts the session. It is called once.
	Open(ctx context.Context) (Grant, error)

	// Resume asks for a new connection to the session. An error that wraps
	// ErrSessionEnded or was made by Permanent ends the Conn; after any other
	// error Resume is called again later.
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

// Config configures a Conn. The zero value is valid.
type Config struct {
	// Transport specifies how to reach the service: its Proxy, DialContext and
	// TLSClientConfig are used. nil means http.DefaultTransport.
	Transport *http.Transport

	// Endpoint is the probable endpoint of the data channel, as wss://HOST; ""
	// if it is not known. The Conn connects to it while the session is opened,
	// which saves two round trips; if the grant names another host, nothing is
	// lost.
	Endpoint string

	// ResumeTimeout is how long one outage may last before the Conn fails,
	// whether the link is down or the agent acknowledges nothing. 0 means
	// DefaultResumeTimeout, a negative value no limit.
	ResumeTimeout time.Duration

	// DataKey gets a 64-byte data key from KMS for a session that is to be
	// encrypted, as plaintext and as ciphertext for the agent. The challenge,
	// if not empty, belongs in the encryption context. nil refuses encryption.
	DataKey func(ctx context.Context, keyID, challenge string) (plain, sealed []byte, err error)

	// OnOutage, if not nil, is called during an outage after each failed
	// attempt, and when the outage is over. It must not block or call the Conn.
	OnOutage func(Outage)

	// OnSilence, if not nil, is called when the agent has been silent for 15 s
	// although the link is up, and when it answers again. It must not block or
	// call the Conn.
	OnSilence func(Silence)

	// OnRepeat, if not nil, is called when so many messages from the agent were
	// lost, usually with a link, that it needs several seconds to retransmit
	// them. Messages after them wait until then. It must not block or call the
	// Conn.
	OnRepeat func(Repeat)

	// ClientVersion is sent to the agent; "" means DefaultClientVersion.
	ClientVersion string

	// Log receives events, never a payload, token or key. nil means no log.
	Log *slog.Logger

	// For tests, which cannot wait as long. 0 means the constants of these
	// names.
	pingAfter, gapLimit, silenceAfter time.Duration

	// For tests. nil means the function of this name. It returns when ctx ends.
	watchNetwork func(ctx context.Context, changed func())
}

// Outage describes a time without a link.
type Outage struct {
	Err    error         // what went wrong last
	Lasted time.Duration // since the link was lost
	Over   bool          // the link is back
}

// Repeat describes the messages that the agent has to retransmit.
type Repeat struct {
	Messages int           // how many are missing
	Takes    time.Duration // about how long that will take the agent
}

// DefaultResumeTimeout is how long an outage may last.
const DefaultResumeTimeout = 10 * time.Minute

// Waits between attempts to resume: none before the first, then firstWait,
// doubling up to maxWait, which is short so that the return of the network is
// soon noticed.
const (
	firstWait = 50 * time.Millisecond
	maxWait   = 1500 * time.Millisecond
)
