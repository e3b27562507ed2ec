package agent

import (
	"slices"
	"testing"
)

func TestOldVersionsGetKeepAlive(t *testing.T) {
	var on []string
	for _, versions := range [][2]string{
		{"3.3.0.0", "1.2.331.0"}, {"3.3.0.0", "1.1.70"}, {"3.1.1511.0", "1.2.896.0"},
		{"3.3.0.0", "1.2.332.0"}, {"3.3.0.0", "1.2.1000.0"}, {"3.1.1512.0", "1.2.896.0"},
	} {
		a := &Agent{job: Job{Config: Config{Version: versions[0]}}, clientVersion: versions[1]}
		if !a.muxConfig().KeepAliveDisabled {
			on = append(on, versions[0]+" "+versions[1])
		}
	}
	if want := []string{"3.3.0.0 1.2.331.0", "3.3.0.0 1.1.70", "3.1.1511.0 1.2.896.0"}; !slices.Equal(on, want) {
		t.Errorf("on with %q", on)
	}
}

func BenchmarkLink(b *testing.B) {
	near, far := newLink()
	const size = 64 << 10
	b.SetBytes(size)
	go func() {
		defer near.Close()
		buf := make([]byte, size)
		for range b.N {
			near.Write(buf)
		}
	}()
	buf := make([]byte, 1024)
	for {
		if _, err := far.Read(buf); err != nil {
			return
		}
	}
}
