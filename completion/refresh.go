package completion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws"
	"github.com/ssmpipe/ssmpipe/proxy/cache"
	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

const (
	freshFor     = time.Minute      // how long a list is not fetched again
	refreshLimit = time.Minute      // how long fetching may take
	failureFor   = 5 * time.Minute  // how long to wait after a failure
	refreshNice  = 10 * time.Second // how long a refresh may take to end by itself
)

// startRefresh starts a process that fetches the list, unless one was started
// within the last minute or failed within the last five. It does not wait, and
// ignores errors.
func startRefresh(profile, region string) {
	turn, err := openTurn(profile, region)
	if err != nil {
		return
	}
	defer turn.Close()
	if !turn.take(time.Now()) {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		return
	}
	cmd := exec.Command(exe, "complete", "refresh", profile, region)
	cmd.Dir = filepath.VolumeName(exe) + string(filepath.Separator) // do not block unmounting
	cmd.Env = quietEnviron(os.Environ())
	detach(cmd)
	if cmd.Start() == nil {
		cmd.Process.Release()
	}
}

// quietEnviron returns env without the variables with which a program named in
// the AWS configuration could open a window or a browser.
func quietEnviron(env []string) []string {
	var quiet []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "DISPLAY", "WAYLAND_DISPLAY", "BROWSER":
		default:
			quiet = append(quiet, v)
		}
	}
	return append(quiet, "BROWSER=false")
}

// refresh fetches the list of machines for candidates. It runs in the
// background: it has no terminal, prints nothing, and ends within about a
// minute.
func refresh(ctx context.Context, profile, region string) error {
	defer time.AfterFunc(refreshLimit+refreshNice, func() { os.Exit(1) }).Stop()
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	err := aws.Unattended(ctx, profile)
	if err == nil {
		o := machine.Options{
			Driver:  aws.Driver{},
			Account: driver.Account{Profile: profile, Region: region},
			Limits:  machine.Limits{ConnectTimeout: refreshLimit},
		}
		err = machine.List(ctx, o, func([]driver.Machine) error { return nil })
	}
	if err == nil {
		return nil
	}
	if turn, lockErr := openTurn(profile, region); lockErr == nil {
		turn.put(time.Now().Add(failureFor))
		turn.Close()
	}
	return err
}

// A turn is a file whose modification time is when a list may next be fetched.
// Only one process can have it open.
type turn struct{ *os.File }

// openTurn opens the file for a profile, a region and the AWS settings in the
// environment: other credentials have a turn of their own.
func openTurn(profile, region string) (*turn, error) {
	dir := cache.User().Dir()
	if dir == "" {
		return nil, os.ErrNotExist
	}
	key := []string{profile, region}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "AWS_") {
			key = append(key, v)
		}
	}
	slices.Sort(key[2:])
	sum := sha256.Sum256([]byte(strings.Join(key, "\x00")))
	f, err := regular.OpenFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".turn"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return &turn{f}, nil
}

// take reports whether the list may be fetched now, and if so sets the next
// time. An empty file is new; a time too far in the future is from before the
// clock was set back.
func (t *turn) take(now time.Time) bool {
	info, err := t.Stat()
	if err != nil {
		return false
	}
	if next := info.ModTime(); info.Size() > 0 && next.After(now) && next.Before(now.Add(failureFor+time.Second)) {
		return false
	}
	return t.put(now.Add(freshFor)) == nil
}

// put sets when the list may next be fetched.
func (t *turn) put(next time.Time) error {
	if _, err := t.WriteAt([]byte("\n"), 0); err != nil {
		return err
	}
	return os.Chtimes(t.Name(), next, next)
}
