package rigtest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// StartHTTPProxy runs an HTTP proxy that only tunnels, only with the password,
// and that knows where ssmtest.invalid is. It counts the tunnels.
func StartHTTPProxy(t *testing.T) (address string, tunnels *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tunnels = new(atomic.Int64)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if user, password, _ := asked.BasicAuth(); r.Method != http.MethodConnect || user != "me" || password != "s%cret" {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		far, err := net.Dial("tcp", strings.Replace(r.Host, "ssmtest.invalid", "127.0.0.1", 1))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			far.Close()
			return
		}
		tunnels.Add(1)
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(far, near); far.Close() }()
		io.Copy(near, far)
		near.Close()
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String(), tunnels
}
