package keys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/proxy/listen"
	"github.com/ssmpipe/ssmpipe/proxy/private"
)

// agentSocket is a Unix socket that ssh finds by a path shared with other
// ssmpipes: several ssh processes to one machine have the same IdentityAgent.
// Each ssmpipe has its own socket in that directory, and path is a symbolic
// link to the newest. When that ssmpipe ends, path is set to a remaining
// socket, whose ssh may go on forwarding the agent for hours.
type agentSocket struct {
	net.Listener
	path   string
	own    string // path of our socket
	closed sync.Once
	forget func() // cancels closing it when the process is terminated
}

// socketLockTime is how long to wait for other processes that set the link.
// They need microseconds, unless they are stopped in the middle.
const socketLockTime = time.Second

// maxSocketPath returns the maximum length of a socket's path, in bytes.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103 // macOS and the BSDs
}

// CheckSocket returns an error if path cannot be a value of --identity-agent.
// Its last element may contain ssh's tokens, whose values a user can choose:
// they must not lead to another directory.
func CheckSocket(path string) error {
	switch {
	case runtime.GOOS == "windows":
		return errors.New("--identity-agent: ssh on Windows does not support Unix sockets; use --key made")
	case !filepath.IsAbs(path):
		return fmt.Errorf("--identity-agent %q is not an absolute path", path)
	case filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("--identity-agent %q is not the plain path of a socket", path)
	case max(len(path), len(ownSocket(path))) > maxSocketPath():
		return fmt.Errorf("--identity-agent %q is too long for a socket (%d bytes): name a directory with a shorter path", path, maxSocketPath())
	}
	return nil
}

// ownPrefix returns the prefix of the names of the sockets that path may lead
// to. It is short because socket paths are limited.
func ownPrefix(path string) string {
	return fmt.Sprintf(".%.3x.", sha256.Sum256([]byte(filepath.Base(path))))
}

// ownSocket returns a new name for a socket of this process; see socketName.
func ownSocket(path string) string {
	n := socketName{ssh: os.Getppid(), pid: os.Getpid(), agent: usersAgent()}
	return filepath.Join(filepath.Dir(path), ownPrefix(path)+n.String()+strings.ToLower(rand.Text()[:2]))
}

// nameTries is the maximum number of names to try. There is room for only two
// random letters, so a name may well be taken.
const nameTries = 32

// takeName calls try with new socket names until one is free, and returns that
// name.
func takeName(path string, try func(name string) error) (name string, err error) {
	for range nameTries {
		name = ownSocket(path)
		if err = try(name); !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return name, err
}

// openAgentSocket listens on a new socket and makes path lead to it.
func openAgentSocket(path string) (*agentSocket, error) {
	if err := private.Dir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s := &agentSocket{path: path}
	unlock := s.lock() // also protects a socket that exists but does not listen yet
	defer unlock()
	var err error
	s.own, err = takeName(path, func(name string) (err error) {
		s.Listener, err = listen.Unix(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.own, listen.ShortOpError(err))
	}
	s.Listener.(*net.UnixListener).SetUnlinkOnClose(false)
	s.living() // removes what killed processes left behind
	if err := s.lead(s.own); err != nil {
		s.Listener.Close()
		os.Remove(s.own)
		return nil, err
	}
	s.forget = lastly.Add(func(context.Context) { s.close() })
	return s, nil
}

// restore makes path lead to a live socket again, this one, if another process
// took longer than socketLockTime and removed the link. It is called just
// before ssh uses the path.
func (s *agentSocket) restore() {
	if _, err := os.Stat(s.path); err == nil {
		return
	}
	unlock := s.lock()
	defer unlock()
	if _, err := os.Stat(s.path); err != nil {
		s.lead(s.own) // without the link ssh still has the keys in the user's files
	}
}

// close first points path at another socket if there is one, and then stops
// listening, so path never leads to a dead socket.
func (s *agentSocket) close() {
	s.closed.Do(func() {
		s.leave()
		s.forget()
	})
}

func (s *agentSocket) leave() {
	defer s.Listener.Close()
	unlock := s.lock()
	defer unlock()
	defer os.Remove(s.own)
	if to, err := os.Readlink(s.path); err != nil || to != filepath.Base(s.own) {
		return // no longer ours
	}
	if others := s.living(); len(others) > 0 {
		s.lead(others[0])
	} else {
		os.Remove(s.path)
	}
}

// is reports whether path leads to this socket: an agent that asked itself
// would never return.
func (s *agentSocket) is(path string) bool {
	if filepath.Clean(path) == s.path {
		return true
	}
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	here, err := os.Stat(s.own)
	return err == nil && os.SameFile(here, there)
}

// lead atomically points path at a socket.
func (s *agentSocket) lead(socket string) error {
	to, err := os.Readlink(s.path)
	if !errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(to, ownPrefix(s.path)) {
		return fmt.Errorf("%s exists already, and was not made by ssmpipe: name another path", s.path)
	}
	link, err := takeName(s.path, func(name string) error { return os.Symlink(filepath.Base(socket), name) })
	if err != nil {
		return err
	}
	if err := os.Rename(link, s.path); err != nil {
		os.Remove(link)
		return err
	}
	return nil
}

// living returns the sockets for path that have a listening process, newest
// first, and removes the others.
func (s *agentSocket) living() []string {
	dir := filepath.Dir(s.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	made := make(map[string]time.Time)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ownPrefix(s.path)) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if name == s.own {
			continue
		}
		if e.Type() == fs.ModeSymlink { // about to be renamed to path
			os.Remove(name)
			continue
		}
		conn, err := net.Dial("unix", name)
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(name)
		}
		if err != nil {
			continue
		}
		conn.Close()
		if info, err := e.Info(); err == nil {
			made[name] = info.ModTime()
			list = append(list, name)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return made[b].Compare(made[a]) })
	return list
}

// lock keeps other processes from changing the links, unless one is stopped
// while it holds the lock.
func (s *agentSocket) lock() (unlock func()) {
	l := flock.New(filepath.Dir(s.path), flock.SetFlag(os.O_RDONLY)) // lock the directory itself, which leaves no file behind
	ctx, cancel := context.WithTimeout(context.Background(), socketLockTime)
	defer cancel()
	l.TryLockContext(ctx, time.Millisecond)
	return func() { l.Close() }
}
