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

// agentSocket is a Unix socket that ssh finds by a path which other ssmpipes
// use as well: several ssh to one machine at once have the same IdentityAgent.
// Each has a socket of its own in that directory, and path is a symbolic link
// to the last one's. When that ends, path goes back to one that is left, whose
// ssh may forward the agent for hours to come.
type agentSocket struct {
	net.Listener
	path   string
	own    string // where the socket is
	closed sync.Once
	forget func() // takes back that it is to be closed if the process is ended
}

// socketLockTime is how long others are waited for that set the link. They take
// microseconds, unless they are stopped in it.
const socketLockTime = time.Second

// maxSocketPath returns how long a socket's path may be, in bytes.
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103 // macOS and the BSDs
}

// CheckSocket returns an error if path cannot be what --identity-agent names. Its
// last element may hold ssh's tokens, of which a user chooses the values: none leads
// to another directory.
func CheckSocket(path string) error {
	switch {
	case runtime.GOOS == "windows":
		return errors.New("--identity-agent: ssh on Windows takes no Unix socket; use --key made")
	case !filepath.IsAbs(path):
		return fmt.Errorf("--identity-agent %q is not an absolute path", path)
	case filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("--identity-agent %q is not the plain path of a socket", path)
	case max(len(path), len(ownSocket(path))) > maxSocketPath():
		return fmt.Errorf("--identity-agent %q is too long for a socket (%d bytes): name a directory with a shorter path", path, maxSocketPath())
	}
	return nil
}

// ownPrefix is how the names of the sockets begin that path may lead to. It is
// short because there is little room.
func ownPrefix(path string) string {
	return fmt.Sprintf(".%.3x.", sha256.Sum256([]byte(filepath.Base(path))))
}

// ownSocket returns a new name of a socket of this process; see socketName.
func ownSocket(path string) string {
	n := socketName{ssh: os.Getppid(), pid: os.Getpid(), agent: usersAgent()}
	return filepath.Join(filepath.Dir(path), ownPrefix(path)+n.String()+strings.ToLower(rand.Text()[:2]))
}

// nameTries is how many names are tried at the most. Two letters are all that
// chance has room for, so one may well be taken.
const nameTries = 32

// takeName calls try with new names of sockets until one is not taken, and returns
// that.
func takeName(path string, try func(name string) error) (name string, err error) {
	for range nameTries {
		name = ownSocket(path)
		if err = try(name); !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return name, err
}

// openAgentSocket listens where path leads to from now on.
func openAgentSocket(path string) (*agentSocket, error) {
	if err := private.Dir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s := &agentSocket{path: path}
	unlock := s.lock() // also from one that is there, but does not listen yet
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
	s.living() // clears away what killed processes have left
	if err := s.lead(s.own); err != nil {
		s.Listener.Close()
		os.Remove(s.own)
		return nil, err
	}
	s.forget = lastly.Add(func(context.Context) { s.close() })
	return s, nil
}

// restore makes path lead to a living socket again, this one, if another process
// took longer than socketLockTime and has removed it. It is called just before
// ssh looks there.
func (s *agentSocket) restore() {
	if _, err := os.Stat(s.path); err == nil {
		return
	}
	unlock := s.lock()
	defer unlock()
	if _, err := os.Stat(s.path); err != nil {
		s.lead(s.own) // without it ssh has the keys in the user's files
	}
}

// close leaves path to another if there is one, and then stops listening: there
// is no moment at which path leads to nobody.
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
		return // not ours any more
	}
	if others := s.living(); len(others) > 0 {
		s.lead(others[0])
	} else {
		os.Remove(s.path)
	}
}

// is says whether path leads here: an agent that asked itself would never end.
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

// lead makes path lead to a socket, at once for whoever looks.
func (s *agentSocket) lead(socket string) error {
	to, err := os.Readlink(s.path)
	if !errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(to, ownPrefix(s.path)) {
		return fmt.Errorf("%s is there already, and not made by ssmpipe: name another one", s.path)
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

// living returns the sockets for path at which a process listens, the newest
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
		if e.Type() == fs.ModeSymlink { // on its way to become path
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

// lock keeps other processes from the links, if none is stopped in the middle.
func (s *agentSocket) lock() (unlock func()) {
	l := flock.New(filepath.Dir(s.path), flock.SetFlag(os.O_RDONLY)) // the directory itself: nothing to leave behind
	ctx, cancel := context.WithTimeout(context.Background(), socketLockTime)
	defer cancel()
	l.TryLockContext(ctx, time.Millisecond)
	return func() { l.Close() }
}
