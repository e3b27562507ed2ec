package awstest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// The account that everything is in, and who calls.
const (
	accountID = "123456789012"
	callerARN = "arn:aws:iam::" + accountID + ":user/example"
)

// Config says what account a Server is. The zero value is a good one.
type Config struct {
	// Config is that of the service under it. What Preferences names replaces its
	// ShellProfile, KeyID and Decrypt.
	ssmtest.Config

	// Preferences is the account's document SSM-SessionManagerRunShell, in JSON; ""
	// is none. Of its inputs, sessions here follow kmsKeyId, with which those for a
	// shell or a command are encrypted, and shellProfile's linux, which a shell
	// begins with. The rest is only shown.
	Preferences string

	// KeyLife is how long a key that SendSSHPublicKey brings is good; 0 is 60 s.
	KeyLife time.Duration
}

// Server is an account with its machines. All methods may be called at any time
// and concurrently.
type Server struct {
	*ssmtest.Server
	cfg     Config
	regions []string       // all
	wg      sync.WaitGroup // every goroutine started here
	ctx     context.Context
	stop    context.CancelFunc // by Close

	denied  atomic.Pointer[[]string] // documents
	actions atomic.Pointer[[]string] // denied, too
	onKeys  atomic.Pointer[func(instanceID, user string, keys []string)]

	mu          sync.Mutex        // taken before ssmtest's, never after
	nodes       map[string]*Node  // what they point to never changes
	ids         []string          // theirs, in the order of AddNode
	owners      map[string]string // of planted sessions
	keys        []pushedKey       // oldest first
	tasks       []*Task           // of all clusters
	invocations []*invocation     // of commands
	dataKeys    []dataKey         // of KMS's
}

// NewServer starts a Server. It panics if it cannot listen.
func NewServer(cfg Config) *Server {
	cfg.Region = cmp.Or(cfg.Region, "us-east-1")
	s := &Server{
		cfg:     cfg,
		regions: append([]string{cfg.Region}, cfg.Regions...),
		nodes:   make(map[string]*Node),
		owners:  make(map[string]string),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	service := cfg.Config
	if cfg.Preferences != "" {
		in := s.inputs()
		service.ShellProfile, service.KeyID, service.Decrypt = in.ShellProfile.Linux, in.KMSKeyID, s.decrypt
	}
	s.Server = ssmtest.NewServer(service)
	s.SetAPI(s.operation)
	return s
}

// Close is [ssmtest.Server.Close]. It waits for what runs here, too.
func (s *Server) Close() {
	s.stop()
	s.Server.Close()
	s.wg.Wait() // no call is left that could start something
}

func (s *Server) logf(format string, args ...any) {
	if s.cfg.Logf != nil {
		s.cfg.Logf(format, args...)
	}
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
