package proxy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// cutOften cuts a service's first links, each after some bytes.
func cutOften(b *rigtest.Bastion, links int, bytes int64) {
	b.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link >= links {
			return -1, 0
		}
		return bytes * int64(1+link%3), []ssmtest.Cut{ssmtest.CutReset, ssmtest.CutBye}[link%2]
	})
}

// TestDialerPostgres: a pool of pgx's on Debian's PostgreSQL, through cuts.
func TestDialerPostgres(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssmtest.Config{"multiplexed": rigtest.Fast, "basic": rigtest.OldAgent} {
		t.Run(name, func(t *testing.T) {
			b := rigtest.NewBastion(t, cfg)
			b.Put("db.internal:5432", rigtest.StartPostgres(t))
			cutOften(b, 20, 40_000)
			d := newDialer(t, b.Server)
			d.Via = rigtest.Node1
			config, err := pgx.ParseConfig("postgres://postgres@db.internal/postgres?sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			config.DialFunc = d.DialContext
			config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
			db := stdlib.OpenDB(*config)
			defer db.Close()
			db.SetMaxOpenConns(8)
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
			defer stop()
			if _, err := db.ExecContext(ctx, "CREATE TABLE rows (n int PRIMARY KEY, content bytea)"); err != nil {
				t.Fatal(err)
			}
			const n = 64
			content := func(i int) []byte { return rigtest.Random(20_000, uint64(i)) }
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if _, err := db.ExecContext(ctx, "INSERT INTO rows VALUES ($1, $2)", i, content(i)); err != nil {
						t.Errorf("row %d: %v", i, err)
					}
				})
			}
			all.Wait()
			for i := range n {
				all.Go(func() {
					var got []byte
					var sum string
					err := db.QueryRowContext(ctx, "SELECT content, encode(sha256(content), 'hex') FROM rows WHERE n = $1", i).Scan(&got, &sum)
					want := sha256.Sum256(content(i))
					if err != nil || sha256.Sum256(got) != want || sum != hex.EncodeToString(want[:]) {
						t.Errorf("row %d: %d bytes, %v", i, len(got), err)
					}
				})
			}
			all.Wait()
			// A context calls off what is under way: pgx sets a deadline, and asks
			// the server by another connection to stop.
			short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
			defer stop()
			if _, err := db.ExecContext(short, "SELECT pg_sleep(600)"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a query that was called off: %v", err)
			}
			rigtest.WaitFor(t, "end of that query", func() bool {
				var running int
				err := db.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'").Scan(&running)
				return err == nil && running == 0
			})
			if links := linksOf(b); links < 4 {
				t.Errorf("%d links: there were no cuts", links)
			}
		})
	}
}

// linksOf is how many WebSockets there were.
func linksOf(b *rigtest.Bastion) (n int) {
	for _, s := range b.Sessions() {
		n += s.Links()
	}
	return n
}

// TestDialerSQLReboot: a pool whose session is gone makes new connections.
func TestDialerSQLReboot(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("db.internal:5432", rigtest.StartPostgres(t))
	d := newDialer(t, b.Server)
	d.Via = rigtest.Node1
	d.ResumeTimeout = time.Second
	config, err := pgx.ParseConfig("postgres://postgres@db.internal/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = d.DialContext
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	db := stdlib.OpenDB(*config)
	defer db.Close()
	one := func() error {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var n int
		return db.QueryRowContext(ctx, "SELECT 1").Scan(&n)
	}
	if err := one(); err != nil {
		t.Fatal(err)
	}
	back := b.Reboot(rigtest.Node1)
	if err := one(); err == nil {
		t.Error("a query was answered by a machine that is off")
	}
	back()
	rigtest.WaitFor(t, "an answer", func() bool { return one() == nil })
}

// TestDialerRedis: go-redis on Debian's Redis, through cuts.
func TestDialerRedis(t *testing.T) {
	t.Parallel()
	b := rigtest.NewBastion(t, rigtest.Fast)
	b.Put("cache.internal:6379", rigtest.StartRedis(t))
	cutOften(b, 20, 30_000)
	d := newDialer(t, b.Server)
	d.Via = rigtest.Node1
	client := redis.NewClient(&redis.Options{Addr: "cache.internal:6379", Dialer: d.DialContext, PoolSize: 10,
		MaxRetries: -1, ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute})
	defer client.Close()
	ctx := t.Context()
	subscription := client.Subscribe(ctx, "news")
	defer subscription.Close()
	if _, err := subscription.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	const n = 100
	for i := range n {
		all.Go(func() {
			key, value := fmt.Sprint("key", i), string(rigtest.Random(10_000, uint64(i)))
			if err := client.Set(ctx, key, value, 0).Err(); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			if got, err := client.Get(ctx, key).Result(); err != nil || got != value {
				t.Errorf("%s: %d bytes, %v", key, len(got), err)
			}
			if err := client.Incr(ctx, "count").Err(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := client.Get(ctx, "count").Int(); got != n || err != nil {
		t.Errorf("counted %d of %d, %v", got, n, err)
	}
	if err := client.Publish(ctx, "news", "hello").Err(); err != nil {
		t.Error(err)
	}
	if m, err := subscription.ReceiveMessage(ctx); err != nil || m.Payload != "hello" {
		t.Errorf("%v, %v", m, err)
	}
	if links := linksOf(b); links < 4 {
		t.Errorf("%d links: there were no cuts", links)
	}
}
