package forward_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// rowsToCopy returns rows for COPY, about n bytes of them.
func rowsToCopy(n int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d\t%x\n", i, [4]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()})
	}
	return b.Bytes()
}

// copyTable sends rows to the database and fetches them again.
func copyTable(t *testing.T, address string, rows []byte) {
	t.Helper()
	psql := func(stdin io.Reader, command string) []byte {
		return rigtest.Succeed(t, rigtest.PG(t, address, "psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", command), stdin)
	}
	psql(nil, "CREATE TABLE rows (id int, text text)")
	psql(bytes.NewReader(rows), "COPY rows FROM STDIN")
	rigtest.Equal(t, "the table", psql(nil, "COPY (SELECT * FROM rows ORDER BY id) TO STDOUT"), rows)
	psql(nil, "DROP TABLE rows")
}

// pgbench runs ten clients for a while.
func pgbench(t *testing.T, address string, seconds int) {
	t.Helper()
	if r := rigtest.Run(t, rigtest.PG(t, address, "pgbench", "-i", "-q", "postgres"), nil); r.Status != 0 {
		t.Fatalf("pgbench -i: %s", r.Stderr)
	}
	r := rigtest.Run(t, rigtest.PG(t, address, "pgbench", "-n", "-c", "10", "-T", fmt.Sprint(seconds), "postgres"), nil)
	if r.Status != 0 || !strings.Contains(string(r.Stdout), "number of failed transactions: 0 ") {
		t.Errorf("pgbench: status %d\n%s%s", r.Status, r.Stdout, r.Stderr)
	}
	for line := range strings.Lines(string(r.Stdout)) {
		if strings.HasPrefix(line, "tps") || strings.HasPrefix(line, "latency") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func redisBenchmark(t *testing.T, address string, requests int) {
	t.Helper()
	_, port, _ := net.SplitHostPort(address)
	r := rigtest.Run(t, exec.Command(rigtest.Need(t, "redis-benchmark"), "-h", "127.0.0.1", "-p", port, "-c", "50",
		"-n", fmt.Sprint(requests), "-t", "ping,set,get,lrange_100", "-q"), nil)
	out := string(r.Stdout) + r.Stderr
	if r.Status != 0 || strings.Contains(strings.ToLower(out), "error") || strings.Count(out, "requests per second") < 5 {
		t.Errorf("redis-benchmark: status %d\n%s", r.Status, out)
	}
}

// sizes are smaller where everything is slow.
func sizes() (copied, seconds, requests int) {
	if testing.Short() || rigtest.Race() {
		return 20 << 20, 2, 2000
	}
	return 200 << 20, 10, 20000
}

func TestForwardPostgres(t *testing.T) {
	t.Parallel()
	copied, seconds, _ := sizes()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("db.internal:5432", rigtest.StartPostgres(t))
	f := b.Forward(t, 1, "-L", "0:db.internal:5432")
	copyTable(t, f.Ready[0], rowsToCopy(copied))
	pgbench(t, f.Ready[0], seconds)
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
	if f.Said() != "" {
		t.Errorf("stderr %q", f.Said())
	}
}

func TestForwardRedis(t *testing.T) {
	t.Parallel()
	_, _, requests := sizes()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("cache:6379", rigtest.StartRedis(t))
	f := b.Forward(t, 1, "-L", "0:cache:6379")
	redisBenchmark(t, f.Ready[0], requests)
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
}

// TestLocalForwardDatabases: the same through ssh's own forwarding.
func TestLocalForwardDatabases(t *testing.T) {
	t.Parallel()
	copied, seconds, requests := sizes()
	r := rigtest.NewSSH(t, rigtest.Fast)
	postgres, redis := rigtest.StartPostgres(t), rigtest.StartRedis(t)
	pgLocal, redisLocal := rigtest.FreePort(t), rigtest.FreePort(t)
	ssh := r.Command(t, "ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", pgLocal+":"+postgres, "-L", redisLocal+":"+redis, rigtest.Node1)
	rigtest.Start(t, ssh)
	rigtest.WaitFor(t, "ssh's forwards", func() bool {
		c, err := net.Dial("tcp", redisLocal)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	copyTable(t, pgLocal, rowsToCopy(copied))
	pgbench(t, pgLocal, seconds)
	redisBenchmark(t, redisLocal, requests)
	ssh.Process.Kill()
	ssh.Wait()
}

// TestForwardUnderFaults: databases notice nothing of a bad network.
func TestForwardUnderFaults(t *testing.T) {
	t.Parallel()
	_, seconds, requests := sizes()
	b := rigtest.NewBastion(t, ssmtest.Config{TLS: true, Agent: ssmtest.Agent{NoSleep: true}})
	b.Put("db.internal:5432", rigtest.StartPostgres(t))
	b.Put("cache:6379", rigtest.StartRedis(t))
	f := b.Forward(t, 2, "-L", "0:db.internal:5432", "-L", "0:cache:6379")
	stop := make(chan struct{})
	var faults sync.WaitGroup
	faults.Go(func() {
		bad := ssmtest.Path{Drop: 0.01, Duplicate: 0.01, Reorder: 0.03}
		for n := 0; ; n++ {
			select {
			case <-stop:
				b.SetPath(ssmtest.Path{}, ssmtest.Path{})
				return
			case <-time.After(time.Second):
			}
			b.Cut(ssmtest.Cut(n % 3))
			switch n % 4 {
			case 0:
				b.SetPath(bad, bad)
			case 2:
				b.SetPath(ssmtest.Path{}, ssmtest.Path{})
			case 3:
				b.BlackHole() // until the sockets are reset
			}
		}
	})
	var loads sync.WaitGroup
	loads.Go(func() {
		copyTable(t, f.Ready[0], rowsToCopy(4<<20))
		pgbench(t, f.Ready[0], seconds)
	})
	loads.Go(func() { redisBenchmark(t, f.Ready[1], requests/10) })
	loads.Wait()
	close(stop)
	faults.Wait()
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
	links := 0
	for _, s := range b.Sessions() {
		links += s.Links()
	}
	if links < 5 {
		t.Errorf("%d links: nothing was cut", links)
	}
}

// TestForwardWebPage: what a browser does, with more connections at once.
func TestForwardWebPage(t *testing.T) {
	t.Parallel()
	curl := rigtest.Need(t, "curl")
	const assets = 60
	b := rigtest.NewBastion(t, rigtest.Fast)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := uint64(len(r.URL.Path))
		w.Write(rigtest.Random(int(n)*1000, n))
	}))
	t.Cleanup(web.Close)
	b.Put("web:80", web.Listener.Addr().String())
	f := b.Forward(t, 2, "-L", "0:web:80", "-D", "0")
	for name, args := range map[string][]string{
		"forward": {},
		"SOCKS":   {"--proxy", "socks5h://" + f.Ready[1]},
	} {
		dir := t.TempDir()
		base := "http://" + f.Ready[0]
		if len(args) > 0 {
			base = "http://web"
		}
		args = append(args, "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", fmt.Sprint(assets))
		for n := range assets {
			args = append(args, base+"/"+strings.Repeat("a", n), "-o", filepath.Join(dir, fmt.Sprint(n)))
		}
		// Silent it is not, with --parallel.
		if r := rigtest.Run(t, exec.Command(curl, args...), nil); r.Status != 0 {
			t.Errorf("%s: curl's status is %d", name, r.Status)
		}
		for n := range assets {
			rigtest.Equal(t, fmt.Sprint(name, " asset ", n), rigtest.ReadFile(t, filepath.Join(dir, fmt.Sprint(n))), rigtest.Random((n+1)*1000, uint64(n+1)))
		}
	}
	rigtest.WaitFor(t, "end of the agent's connections", func() bool { return b.Connections() == 0 })
}
