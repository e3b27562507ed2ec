package cache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/private"
	"github.com/ssmpipe/ssmpipe/proxy/regular"
)

// Cache keeps recent answers in files in the user's cache directory, shared by
// many processes: a file is always replaced as a whole. It contains no secrets.
// An entry that cannot be written or read is treated as missing, never as an
// error. The zero value keeps nothing.
type Cache struct{ dir string }

// User returns the cache of the user who runs this process, or the one in
// the directory that SSMPIPE_CACHE names.
func User() Cache {
	if dir := os.Getenv("SSMPIPE_CACHE"); dir != "" {
		return Cache{dir}
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return Cache{}
	}
	return Cache{filepath.Join(dir, "ssmpipe")}
}

// Dir returns the cache directory, creating it if necessary. It returns "" if
// there is none, or if others may write to it: its files decide which machine a
// name resolves to.
func (c Cache) Dir() string {
	if c.dir == "" || private.Cache(c.dir) != nil {
		return ""
	}
	return c.dir
}

// maxEntry limits the size of an entry that is read, in bytes: some 20,000
// instances.
const maxEntry = 32 << 20

// Get reads the entry for key into v and returns its age.
func (c Cache) Get(v any, key ...string) (age time.Duration, ok bool) {
	f := c.open(key)
	if f == nil {
		return 0, false
	}
	defer f.Close()
	// Gob decodes five times as fast as JSON: 2,000 instances in 5 ms, while a
	// user waits after pressing Tab.
	in := gob.NewDecoder(bufio.NewReader(f))
	var saved time.Time
	if in.Decode(&saved) != nil || in.Decode(v) != nil {
		return 0, false
	}
	age = time.Since(saved)
	return age, age >= 0 // otherwise the clock was set back, and the age is unknown
}

// open opens the file for key, or returns nil. It checks the file's owner too:
// others may replace a parent directory between two checks.
func (c Cache) open(key []string) *os.File {
	if c.dir == "" || private.CheckCache(c.dir) != nil {
		return nil
	}
	f, err := regular.Open(c.file(key))
	if err != nil {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Size() > maxEntry || !private.Own(info) {
		f.Close()
		return nil
	}
	return f
}

// Put stores v under key.
func (c Cache) Put(v any, key ...string) {
	if c.Dir() == "" {
		return
	}
	var data bytes.Buffer
	out := gob.NewEncoder(&data)
	if out.Encode(time.Now()) != nil || out.Encode(v) != nil {
		return
	}
	f, err := os.CreateTemp(c.dir, "new-*") // has mode 0600
	if err != nil {
		return
	}
	_, err = f.Write(data.Bytes())
	if closeErr := f.Close(); err != nil || closeErr != nil || os.Rename(f.Name(), c.file(key)) != nil {
		os.Remove(f.Name())
	}
}

// Drop removes the entry for key.
func (c Cache) Drop(key ...string) {
	if c.dir != "" {
		os.Remove(c.file(key))
	}
}

// file returns the file name for key, whose parts may contain anything.
func (c Cache) file(key []string) string {
	sum := sha256.Sum256([]byte(strings.Join(key, "\x00")))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:]))
}

// sweepAge is the age at which a file that has not been replaced is useless.
const sweepAge = 30 * 24 * time.Hour

// Sweep removes old files.
func (c Cache) Sweep() {
	if c.dir == "" || private.CheckCache(c.dir) != nil {
		return
	}
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > sweepAge {
			os.Remove(filepath.Join(c.dir, f.Name()))
		}
	}
}
