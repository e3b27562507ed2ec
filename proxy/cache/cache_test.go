package cache

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	c := Cache{filepath.Join(t.TempDir(), "cache")}
	var got []string
	if _, ok := c.Get(&got, "a", "b"); ok {
		t.Error("something is there that nobody has put")
	}
	c.Put([]string{"one"}, "a", "b")
	c.Put([]string{"two"}, "ab")
	if age, ok := c.Get(&got, "a", "b"); !ok || age < 0 || age > time.Minute || len(got) != 1 || got[0] != "one" {
		t.Errorf("%v, %v, %v", got, age, ok)
	}
	if info, err := os.Stat(c.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	var number int
	if _, ok := c.Get(&number, "a", "b"); ok {
		t.Error("a list was read as a number")
	}
	c.Drop("a", "b")
	if _, ok := c.Get(&got, "a", "b"); ok {
		t.Error("it is there after Drop")
	}
	if _, ok := c.Get(&got, "ab"); !ok {
		t.Error("Drop has taken another key's")
	}
}

func TestCacheOfManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			c := Cache{dir}
			for range 50 {
				c.Put([]int{n, n, n}, "key")
				var got []int
				if _, ok := c.Get(&got, "key"); !ok || len(got) != 3 || got[0] != got[2] {
					t.Errorf("%v, %v", got, ok)
				}
			}
		})
	}
	all.Wait()
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
}

func TestSweep(t *testing.T) {
	c := Cache{t.TempDir()}
	c.Put(1, "old")
	c.Put(2, "new")
	if err := os.Chtimes(c.file([]string{"old"}), time.Time{}, time.Now().Add(-sweepAge-time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.Sweep()
	var n int
	if _, ok := c.Get(&n, "old"); ok {
		t.Error("what is old is there still")
	}
	if _, ok := c.Get(&n, "new"); !ok {
		t.Error("what is new has gone")
	}
}

func TestTheZeroCacheKeepsNothing(t *testing.T) {
	var c Cache
	c.Put(1, "key")
	c.Drop("key")
	c.Sweep()
	var n int
	if _, ok := c.Get(&n, "key"); ok {
		t.Error("something was kept")
	}
}
