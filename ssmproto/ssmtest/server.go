package ssmtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Server. The zero value is valid.
type Config struct {
	// Region is the region that requests must be signed for; "" means
	// us-east-1. Regions are further ones, each with the nodes that name it.
	Region  string
	Regions []string

	// The credentials that requests must be signed with. If AccessKeyID is
	// empty they are random, so that no other user of the machine has them (see
	// [Server.Env]). With a SessionToken, X-Amz-Security-Token must be present
	// and signed; without one it must be absent.
	AccessKeyID, SecretAccessKey, SessionToken string

	// TLS serves https and wss with a self-signed certificate for the loopback
	// addresses, Address, localhost, and ssmtest.invalid, a name that only a
	// proxy can resolve to the Server; see [Server.CertPEM].
	TLS bool

	// Address is the IP address to listen on; "" means 127.0.0.1. Use another
	// one only in a network namespace that a test or a benchmark has made:
	// anyone who can reach the Server and has its credentials can run programs
	// as its user.
	Address string

	// NoSignatureCheck accepts WebSocket upgrades that are not signed.
	// Signatures of API calls are still checked.
	NoSignatureCheck bool

	// Agent configures the agents of nodes that do not have their own
	// configuration.
	Agent Agent

	// IdleTimeout is how long a session may be without a message in either
	// direction (WebSocket pings do not count) before the service ends it; 0
	// means no limit.
	IdleTimeout time.Duration

	// ShellProfile is typed into a shell when it starts.
	ShellProfile string

	// KeyID, if not "", is the key that sessions for a shell or a command are
	// encrypted with. Decrypt decrypts a data key that a client has sent, as
	// KMS does for an agent.
	KeyID   string
	Decrypt func(sealed []byte, keyID string, encryptionContext map[string]string) (plain []byte, err error)

	// Logf, if not nil, logs events, one line each. It is called concurrently.
	Logf func(format string, args ...any)
}

// Server is a service with its nodes. All methods may be called at any time and
// concurrently. Since programs on its nodes run as the user who started it, it
// listens on loopback, its credentials are random unless Config sets them, and
// it refuses browsers.
type Server struct {
	cfg     Config
	regions []string // all regions
	ln      net.Listener
	http    *http.Server
	certPEM []byte
	url     string
	wg      sync.WaitGroup // every goroutine started here, and every handler

	faults faults
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	api    atomic.Pointer[func(r *http.Request, body []byte, own *Operation) *Operation]

	mu         sync.Mutex
	creds      credentials
	closed     bool
	nodes      map[string]*Node     // the Nodes themselves never change
	away       map[string]bool      // nodes that are being rebooted
	sessions   []*Session           // oldest first
	conns      map[*conn]struct{}   // every open network connection
	sockets    map[*socket]struct{} // those that are data channels
	links      int                  // upgrades requested so far
	calls      map[string]int       // by operation
	paths      paths                // between clients and the service
	agentPaths paths                // between the service and the agents
}

// paths are the two directions between two ends.
type paths struct{ up, down Path }

// NewServer starts a Server. It panics if it cannot listen.
func NewServer(cfg Config) *Server {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.AccessKeyID == "" {
		cfg.AccessKeyID, cfg.SecretAccessKey = newCredentials()
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(cfg.Address, "0"))
	if err != nil {
		panic(fmt.Sprintf("ssmtest: cannot listen: %v", err))
	}
	s := &Server{
		cfg:     cfg,
		creds:   credentials{cfg.AccessKeyID, cfg.SecretAccessKey, cfg.SessionToken},
		regions: append([]string{cfg.Region}, cfg.Regions...),
		nodes:   make(map[string]*Node),
		away:    make(map[string]bool),
		conns:   make(map[*conn]struct{}),
		sockets: make(map[*socket]struct{}),
		calls:   make(map[string]int),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	var tlsConfig *tls.Config
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
		tlsConfig, s.certPEM = selfSigned(net.ParseIP(cfg.Address))
	}
	s.ln = &listener{Listener: ln, srv: s, tls: tlsConfig}
	s.url = scheme + "://" + ln.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.serveAPI)
	mux.HandleFunc("GET /v1/data-channel/{session}", s.serveDataChannel)
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !s.enter() {
				return
			}
			defer s.wg.Done()
			if s.foreign(r) {
				s.logf("%s %s: Host %q, Origin %q", r.Method, r.URL.Path, r.Host, r.Header.Get("Origin"))
				http.Error(w, "Forbidden", http.StatusForbidden)
				return
			}
			mux.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	s.wg.Go(func() { s.http.Serve(s.ln) })
	return s
}

// enter adds the caller to s.wg, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

// URL returns the service's URL, http://127.0.0.1:PORT or https.
func (s *Server) URL() string { return s.url }

// CertPEM returns the certificate that a client must trust, or nil without TLS.
func (s *Server) CertPEM() []byte { return slices.Clone(s.certPEM) }

// Env returns the environment variables, as "NAME=value", that make a process
// use this service and ignore the user's own AWS configuration.
func (s *Server) Env() []string {
	s.mu.Lock()
	c := s.creds
	s.mu.Unlock()
	env := []string{
		"AWS_ENDPOINT_URL=" + s.url,
		"AWS_ACCESS_KEY_ID=" + c.accessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.secret,
		"AWS_REGION=" + s.cfg.Region,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	if c.token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+c.token)
	}
	return env
}

// SetCredentials changes the accepted credentials, as when those of a role
// expire: requests signed with the old ones are refused from now on, open
// sockets stay open.
func (s *Server) SetCredentials(accessKeyID, secretAccessKey, sessionToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creds = credentials{accessKeyID, secretAccessKey, sessionToken}
}

// AddNode adds a node, or replaces the one with its ID for future sessions.
func (s *Server) AddNode(n Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Region = cmp.Or(n.Region, s.cfg.Region)
	s.nodes[n.ID] = &n
}

// Sessions returns all sessions ever started, oldest first.
func (s *Server) Sessions() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sessions)
}

// ActiveSessions returns how many sessions have not ended, and so are left over
// in the account.
func (s *Server) ActiveSessions() int {
	n := 0
	for _, session := range s.Sessions() {
		if !session.Ended() {
			n++
		}
	}
	return n
}

func (s *Server) session(id string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range slices.Backward(s.sessions) {
		if session.id == id {
			return session
		}
	}
	return nil
}

func (s *Server) openSockets() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.sockets))
}

// Close stops the Server and returns when all of its goroutines have ended.
// Sessions do not end normally: their sockets are reset.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.http.Close()
	for _, session := range s.Sessions() {
		session.agent.Stop()
		session.stopIdle()
	}
	s.resetConns()
	s.wg.Wait()
}

// resetConns resets every open connection, data channels and others.
func (s *Server) resetConns() {
	for _, k := range s.openSockets() {
		k.cut(CutReset)
	}
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.reset()
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.cfg.Logf != nil {
		s.cfg.Logf(format, args...)
	}
}

// listener accepts connections and records them. It resets them while the
// server is offline.
type listener struct {
	net.Listener
	srv *Server
	tls *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		still := &stillConn{Conn: nc, gate: &l.srv.faults.still, closed: make(chan struct{})}
		c := &conn{Conn: still, tcp: nc.(*net.TCPConn), still: still, srv: l.srv}
		if l.tls != nil {
			c.Conn = tls.Server(still, l.tls)
		}
		l.srv.mu.Lock()
		l.srv.conns[c] = struct{}{}
		l.srv.mu.Unlock()
		// Checked after the connection has been recorded: Offline sets the flag
		// first and then resets all recorded connections, so it misses none.
		if l.srv.faults.offline.Load() {
			c.reset()
			continue
		}
		return c, nil
	}
}

// conn is a network connection of the server. Once it carries a data channel,
// Read and Write go through the socket, which counts bytes.
type conn struct {
	net.Conn // TLS, or still itself
	tcp      *net.TCPConn
	still    *stillConn // around tcp
	srv      *Server
	socket   atomic.Pointer[socket]
}

func (c *conn) Read(p []byte) (int, error) {
	if k := c.socket.Load(); k != nil {
		return k.read(p)
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if k := c.socket.Load(); k != nil {
		k.write(p, 0)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.srv.mu.Lock()
	delete(c.srv.conns, c)
	c.srv.mu.Unlock()
	c.still.leave()
	return c.Conn.Close()
}

// reset closes the connection with a TCP reset.
func (c *conn) reset() {
	c.tcp.SetLinger(0)
	c.srv.mu.Lock()
	delete(c.srv.conns, c)
	c.srv.mu.Unlock()
	c.still.Close()
}
