package proxy_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// TestManyAtOnceWaitTheirTurn: of many that start at once all get a session,
// though AWS takes a few calls a second, and they do not storm it.
func TestManyAtOnceWaitTheirTurn(t *testing.T) {
	t.Parallel()
	const many = 50
	address := rigtest.EchoServer(t)
	srv := rigtest.Service(t, rigtest.Fast, address)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	node := func(i int) string { return fmt.Sprintf("i-%017x", 0xabc00+i) }
	for i := range many {
		srv.AddNode(awstest.Node{ID: node(i), Node: ssmtest.Node{Dial: dial}})
	}
	srv.OnAPI(awstest.RateLimit(8, 3, "StartSession"))
	d := newDialer(t, srv)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			c, err := d.DialContext(ctx, "tcp", node(i)+":7")
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	all.Wait()
	if n := srv.Calls("StartSession"); n > 8*many {
		t.Errorf("%d calls of StartSession", n)
	}
}
