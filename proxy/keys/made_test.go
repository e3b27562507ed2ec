package keys

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMadeKeyIsKeptWhileSomebodyUsesIt, however old it is.
func TestMadeKeyIsKeptWhileSomebodyUsesIt(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	open := func() *Made {
		m, err := OpenMade(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b := open(), open()
	if !bytes.Equal(a.Public.Marshal(), b.Public.Marshal()) {
		t.Error("two keys")
	}
	yesterday := time.Now().Add(-25 * time.Hour)
	os.Chtimes(a.name, yesterday, yesterday)
	before, _ := os.ReadFile(a.name)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if now, _ := os.ReadFile(a.name); !bytes.Equal(now, before) {
		t.Error("replaced while another used it")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if now, err := os.ReadFile(a.name); err != nil || bytes.Equal(now, before) {
		t.Errorf("not replaced by the last: %v", err)
	}
	c := open()
	defer c.Close()
	if pub, _ := os.ReadFile(c.name + ".pub"); !bytes.Equal(pub, publicFile(c.Public)) {
		t.Errorf("%s is not of the pair", pub)
	}
}

// TestMadeKeyIsMadeOnce by however many that start at once.
func TestMadeKeyIsMadeOnce(t *testing.T) {
	for range 20 {
		t.Setenv("HOME", t.TempDir())
		var mu sync.Mutex
		seen := make(map[string]bool)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				<-start
				m, err := OpenMade(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				defer m.Close()
				mu.Lock()
				defer mu.Unlock()
				seen[string(m.Public.Marshal())] = true
			})
		}
		close(start)
		wg.Wait()
		if len(seen) != 1 {
			t.Errorf("%d keys", len(seen))
		}
	}
}

// TestMadeKeyLeavesOthersFilesAlone: neither half of somebody else's pair is
// touched, and a half of ours that is missing is put there again.
func TestMadeKeyLeavesOthersFilesAlone(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	m, err := OpenMade(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(m.name + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(m.name + ".pub")
	if _, err := m.read(); err != nil {
		t.Error(err)
	}
	if now, _ := os.ReadFile(m.name + ".pub"); !bytes.Equal(now, public) {
		t.Errorf("%q", now)
	}
	const theirs = "ssh-ed25519 AAAA theirs\n"
	for _, name := range []string{m.name + ".pub", m.name} {
		if err := os.WriteFile(name, []byte(theirs), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := OpenMade(context.Background()); err == nil || !strings.Contains(err.Error(), "made by ssmpipe: move it") {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		if now, _ := os.ReadFile(name); string(now) != theirs {
			t.Errorf("%s: %q", name, now)
		}
	}
}
